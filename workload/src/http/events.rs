//! Server-sent events on their way to clients.

use super::error::ApiError;
use super::exchange::Exchange;
use super::farewell::{LastWords, until_farewell};
use super::heartbeat::living;
use crate::backend::{BackendError, Endpoint};
use crate::dialects::anthropic::error_document;
use crate::service::Service;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use std::time::Duration;

/// A response that streams events, and ends with such last words should the service have to end before it.
pub(super) fn event_stream(
    service: &Service,
    exchange: &Exchange,
    body: Body,
    last_words: LastWords,
) -> Response {
    let body = match service.glance().bundle.policy().stream_heartbeat_ms {
        Some(every) => living(body, Duration::from_millis(every)),
        None => body,
    };
    let mut response = Response::new(until_farewell(service, exchange, body, last_words));
    as_events(&mut response);
    response
}

/// Says that the body is events.
pub(super) fn as_events(response: &mut Response) {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
}

/// An error as an event, in OpenAI's shape.
pub(super) fn error_event(error: &ApiError) -> Bytes {
    format!("data: {}\n\n", error.document()).into()
}

/// The same in the shape of the events of OpenAI's responses.
fn error_event_of_response(error: &ApiError) -> Bytes {
    let mut event = error.document()["error"].take();
    event["type"] = "error".into();
    // The number that it would have, whoever does not look into the events cannot know.
    event["sequence_number"] = 0.into();
    format!("event: error\ndata: {event}\n\n").into()
}

/// The same in Anthropic's shape.
fn error_event_of_message(error: &ApiError) -> Bytes {
    format!("event: error\ndata: {}\n\n", error_document(error.status(), error.message(), error.code(), None))
        .into()
}

/// How streams of an endpoint end in trouble: by an error of the service, or of the backend.
pub(super) fn last_words(endpoint: Endpoint) -> (LastWords, fn(&BackendError) -> Bytes) {
    match endpoint {
        Endpoint::Responses => {
            (error_event_of_response, |error| error_event_of_response(&error.clone().into()))
        }
        Endpoint::Messages => (error_event_of_message, |error| error_event_of_message(&error.clone().into())),
        Endpoint::ChatCompletions | Endpoint::Completions | Endpoint::Embeddings => {
            (error_event, |error| error_event(&error.clone().into()))
        }
    }
}
