//! `POST /v1/chat/completions`: bytes through to a remote backend, or OpenAI's documents around the
//! embedded one.

use super::error::{ApiError, error_event, last_words};
use super::identifiers::{now_seconds, unique};
use super::{Service, body};
use crate::backend::{
    Answer, Backend, BackendError, Completion, EmbeddedBackend, Finish, Kind, Piece, RemoteBackend,
};
use crate::chat::{ChatRequest, ChunkWriter, GuardedStream, parse_for_embedded, whole_answer};
use crate::snapshot::Route;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt as _;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use std::convert::Infallible;
use std::sync::Arc;

/// Type of a streamed answer.
pub(super) const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

pub(super) async fn complete(State(service): State<Service>, body: Body) -> Result<Response, ApiError> {
    let request = ChatRequest::parse(body::read(body).await?)?;
    let snapshot = service.snapshot();
    let route = snapshot.route(&request.model).ok_or_else(|| ApiError::model_not_found(&request.model))?;
    let answer = match route.backend.kind() {
        Kind::Remote(remote) => pass_through(remote, route, &request).await,
        Kind::Embedded(embedded) => from_embedded(embedded, route, &request).await,
    };
    let outcome = if answer.is_ok() { "answered" } else { "failed" };
    service.metrics.backend_answers.with_label_values(&[route.backend.name(), outcome]).inc();
    answer
}

async fn pass_through(
    remote: &RemoteBackend,
    route: &Route,
    request: &ChatRequest,
) -> Result<Response, ApiError> {
    match remote.forward(request.body_for(&route.backend_model)).await? {
        Answer::Whole { status, retry_after, body } => {
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = status;
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            if let Some(retry_after) = retry_after {
                response.headers_mut().insert(RETRY_AFTER, retry_after);
            }
            Ok(response)
        }
        Answer::Stream(incoming) => {
            Ok(event_stream(Body::new(GuardedStream::new(incoming, remote.timeouts(), last_words))))
        }
    }
}

/// A response that streams events.
pub(super) fn event_stream(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, EVENT_STREAM);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

async fn from_embedded(
    _: &EmbeddedBackend,
    route: &Route,
    request: &ChatRequest,
) -> Result<Response, ApiError> {
    let (asked, include_usage) = parse_for_embedded(request.body(), &route.backend_model)?;
    let (id, created, model) = (unique("chatcmpl"), now_seconds(), route.public_model.clone());
    let backend: &Arc<Backend> = &route.backend;
    let answer = backend.complete(asked).await?;
    if request.stream {
        let writer = ChunkWriter::new(id, created, model, include_usage);
        return Ok(event_stream(Body::from_stream(events(answer, writer))));
    }
    let (text, finish) = whole(answer).await?;
    Ok(axum::Json(whole_answer(&id, created, &model, &text, &finish)).into_response())
}

async fn whole(mut answer: Completion) -> Result<(String, Finish), BackendError> {
    let mut text = String::new();
    while let Some(piece) = answer.next().await {
        match piece? {
            Piece::Text(more) => text.push_str(&more),
            Piece::Finished(finish) => return Ok((text, finish)),
        }
    }
    Err(BackendError::Cut)
}

fn events(answer: Completion, writer: ChunkWriter) -> impl futures::Stream<Item = Result<Bytes, Infallible>> {
    let start = writer.start();
    let rest = answer.map(move |piece| match piece {
        Ok(Piece::Text(text)) => writer.text(&text),
        Ok(Piece::Finished(finish)) => writer.end(&finish),
        Err(error) => error_event(error),
    });
    futures::stream::once(async move { start }).chain(rest).map(Ok)
}
