//! Server-sent events on their way to clients.

use super::error::ApiError;
use crate::backend::BackendError;
use crate::gateway::Trouble;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

/// A response that streams events.
pub(super) fn event_stream(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// An error as an event, in OpenAI's shape.
pub(super) fn error_event(error: BackendError) -> Bytes {
    format!("data: {}\n\n", ApiError::from(error).document()).into()
}

/// The last event of a stream that could not be completed.
pub(super) fn last_words(trouble: Trouble) -> Bytes {
    error_event(error(trouble))
}

/// The same in the shape of the events of OpenAI's responses.
pub(super) fn last_words_of_response(trouble: Trouble) -> Bytes {
    let mut event = ApiError::from(error(trouble)).document()["error"].take();
    event["type"] = "error".into();
    // The number that it would have, whoever does not look into the events cannot know.
    event["sequence_number"] = 0.into();
    format!("event: error\ndata: {event}\n\n").into()
}

fn error(trouble: Trouble) -> BackendError {
    match trouble {
        Trouble::TimedOut => BackendError::TimedOut,
        Trouble::Cut => BackendError::Cut,
    }
}
