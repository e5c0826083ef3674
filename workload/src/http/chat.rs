//! `POST /v1/chat/completions`: bytes through to a remote backend, or OpenAI's documents around the
//! embedded one.

use super::admission::{Admitted, admit};
use super::authentication::Caller;
use super::body::{self, MAX_BODY_BYTES};
use super::error::ApiError;
use super::events::{error_event, event_stream, last_words};
use super::identifiers::{now_seconds, unique};
use super::route_header::tell_route;
use crate::attempts::Answered;
use crate::authorization::Action;
use crate::backend::{Answer, BackendError, Completion, Finish, InFlight, Piece};
use crate::chat::{ChatAnswer, ChatQuestion, ChatRequest, ChunkWriter, GuardedStream, whole_answer};
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
    let Admitted { public_model, targets } =
        admit(&service, &snapshot, &caller, Action::Complete, Some(&request.model))?;
    let (question, targets) = ChatQuestion::new(&request, targets)?;
    let (answered, ledger) = service.attempts(&snapshot).first_answer(&question, &targets).await;
    let response = match answered {
        Ok(answered) => respond(answered, request.stream, public_model).await,
        Err(error) => Err(error),
    };
    Ok(tell_route(response.map_err(ApiError::from).into_response(), &ledger))
}

async fn respond(
    answered: Answered<ChatAnswer>,
    is_streamed: bool,
    public_model: &str,
) -> Result<Response, BackendError> {
    let Answered { answer, in_flight } = answered;
    match answer {
        ChatAnswer::Remote(answer) => Ok(pass_on(answer, in_flight)),
        ChatAnswer::Embedded { completion, include_usage } => {
            let (id, created) = (unique("chatcmpl"), now_seconds());
            if is_streamed {
                let writer = ChunkWriter::new(id, created, public_model.to_owned(), include_usage);
                return Ok(event_stream(Body::from_stream(events(completion, in_flight, writer))));
            }
            let (text, finish) = whole(completion).await?;
            Ok(axum::Json(whole_answer(&id, created, public_model, &text, &finish)).into_response())
        }
    }
}

fn pass_on(answer: Answer, in_flight: InFlight) -> Response {
    match answer {
        Answer::Whole { status, retry_after, body } => {
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = status;
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            if let Some(retry_after) = retry_after {
                response.headers_mut().insert(RETRY_AFTER, retry_after);
            }
            response
        }
        Answer::Stream(incoming, deadline) => {
            event_stream(Body::new(GuardedStream::new(incoming, deadline, last_words, in_flight)))
        }
    }
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

fn events(
    answer: Completion,
    in_flight: InFlight,
    writer: ChunkWriter,
) -> impl futures::Stream<Item = Result<Bytes, Infallible>> {
    let start = writer.start();
    let rest = answer.map(move |piece| {
        let _kept_until_the_end = &in_flight;
        match piece {
            Ok(Piece::Text(text)) => writer.text(&text),
            Ok(Piece::Finished(finish)) => writer.end(&finish),
            Err(error) => error_event(error),
        }
    });
    futures::stream::once(async move { start }).chain(rest).map(Ok)
}
