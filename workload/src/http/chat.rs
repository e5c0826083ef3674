//! `POST /v1/chat/completions`: bytes through to a remote backend, or OpenAI's documents around the
//! embedded one.

use super::admission::admit;
use super::authentication::Caller;
use super::body::{self, MAX_BODY_BYTES};
use super::error::ApiError;
use super::events::{error_event, event_stream, last_words};
use super::identifiers::{now_seconds, unique};
use crate::authorization::Action;
use crate::backend::{Answer, BackendError, Completion, Finish, Kind, Piece, RemoteBackend};
use crate::chat::{ChatRequest, ChunkWriter, GuardedStream, parse_for_embedded, whole_answer};
use crate::routing::Route;
use crate::service::Service;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt as _;
use http::HeaderValue;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use std::convert::Infallible;

pub(super) async fn complete(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, ApiError> {
    let body = body::read(&service, body, MAX_BODY_BYTES).await?;
    let request = ChatRequest::parse(body.bytes.clone())?;
    let snapshot = service.snapshot();
    let route = admit(&service, &snapshot, &caller, Action::Complete, Some(&request.model))?;
    let answer = match route.backend.kind() {
        Kind::Remote(remote) => pass_through(remote, route, &request).await,
        Kind::Embedded(_) => from_embedded(route, &request).await,
    };
    count(&service, route, &answer);
    answer
}

/// By the answer's head: what a stream may still run into is not known yet.
fn count(service: &Service, route: &Route, answer: &Result<Response, ApiError>) {
    let backend = route.backend.name();
    let outcome = match answer {
        Ok(answer) if answer.status().is_success() => "answered",
        Ok(_) => "refused",
        Err(error) => {
            tracing::warn!(backend, code = error.code(), "a backend did not answer");
            "failed"
        }
    };
    service.metrics().backend_answers.with_label_values(&[backend, outcome]).inc();
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
        Answer::Stream(incoming, deadline) => {
            Ok(event_stream(Body::new(GuardedStream::new(incoming, deadline, last_words))))
        }
    }
}

async fn from_embedded(route: &Route, request: &ChatRequest) -> Result<Response, ApiError> {
    let (asked, include_usage) = parse_for_embedded(request.body(), &route.backend_model)?;
    let (id, created, model) = (unique("chatcmpl"), now_seconds(), route.public_model.clone());
    let answer = begun(route.backend.complete(asked).await?).await?;
    if request.stream {
        let writer = ChunkWriter::new(id, created, model, include_usage);
        return Ok(event_stream(Body::from_stream(events(answer, writer))));
    }
    let (text, finish) = whole(answer).await?;
    Ok(axum::Json(whole_answer(&id, created, &model, &text, &finish)).into_response())
}

/// Waits for the first piece, so that an answer that never begins has a status that says so.
async fn begun(mut answer: Completion) -> Result<Completion, BackendError> {
    let first = answer.next().await.ok_or(BackendError::Cut)??;
    Ok(futures::stream::iter([Ok(first)]).chain(answer).boxed())
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
