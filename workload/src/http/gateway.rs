//! What passes through: bytes to a remote backend and back, or OpenAI's documents around the embedded one.

use super::admission::{Admitted, admit};
use super::authentication::Caller;
use super::body::{self, MAX_BODY_BYTES};
use super::error::ApiError;
use super::events::{error_event, error_event_of_response, event_stream};
use super::exchange::Exchange;
use super::farewell::LastWords;
use super::identifiers::{now_seconds, unique};
use super::limits::{self, Wanted, tell_limits};
use super::route_header::tell_route;
use crate::attempts::Answered;
use crate::authorization::Action;
use crate::backend::{Answer, BackendError, Completion, Endpoint, Finish, InFlight, Piece};
use crate::gateway::{
    ChunkWriter, Guarded, GuardedStream, Meter, OpenAiAnswer, OpenAiQuestion, OpenAiRequest, Trouble,
    whole_answer,
};
use crate::limits::Allowance;
use crate::service::Service;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use bytes::Bytes;
use codecrucible_contract::LimitedRoute;
use futures::StreamExt as _;
use http::HeaderValue;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use std::convert::Infallible;
use std::time::Instant;

/// A route of OpenAI's API.
pub(super) fn route(endpoint: Endpoint) -> MethodRouter<Service> {
    post(
        move |State(service): State<Service>,
              Extension(caller): Extension<Caller>,
              Extension(exchange): Extension<Exchange>,
              body: Body| answer(service, caller, exchange, endpoint, body),
    )
}

async fn answer(
    service: Service,
    caller: Caller,
    exchange: Exchange,
    endpoint: Endpoint,
    body: Body,
) -> Result<Response, ApiError> {
    let body = body::read(&service, &exchange, body, MAX_BODY_BYTES).await?;
    let request = OpenAiRequest::parse(endpoint, body.bytes.clone())?;
    let snapshot = service.snapshot();
    let Admitted { public_model, targets } =
        admit(&service, &snapshot, &caller, Action::Complete, Some(&request.model))?;
    let (question, targets) = OpenAiQuestion::new(&request, exchange.correlation(), targets)?;
    let wanted =
        Wanted { route: endpoint.into(), model: Some(public_model), tokens: request.estimated_tokens() };
    let Allowance { told, reservation, .. } =
        limits::allowance(&service, &snapshot, (&caller, &exchange), wanted).await?;
    let meter = Meter::new(exchange.tokens().clone(), reservation, request.estimated_prompt_tokens());
    exchange.note_model(public_model);
    let (answered, ledger) = service.attempts(&snapshot).first_answer(&question, &targets).await;
    exchange.note_wait(ledger.waited());
    exchange.note_backend(ledger.backend(), ledger.tried.len());
    let response = match answered {
        Ok(answered) => respond(answered, &request, (&service, public_model), meter, &exchange).await,
        Err(error) => {
            meter.failed(&error);
            Err(error)
        }
    };
    let response = response.map_err(ApiError::from).into_response();
    Ok(tell_limits(tell_route(response, &ledger), &told))
}

impl From<Endpoint> for LimitedRoute {
    fn from(endpoint: Endpoint) -> Self {
        match endpoint {
            Endpoint::ChatCompletions => Self::ChatCompletions,
            Endpoint::Completions => Self::Completions,
            Endpoint::Responses => Self::Responses,
            Endpoint::Embeddings => Self::Embeddings,
        }
    }
}

async fn respond(
    answered: Answered<OpenAiAnswer>,
    request: &OpenAiRequest,
    (service, public_model): (&Service, &str),
    mut meter: Meter,
    exchange: &Exchange,
) -> Result<Response, BackendError> {
    let Answered { answer, in_flight } = answered;
    match answer {
        OpenAiAnswer::Remote(answer) => Ok(pass_on(service, request.endpoint, answer, in_flight, meter)),
        OpenAiAnswer::Embedded { completion, include_usage } => {
            let (id, created) = (unique("chatcmpl"), now_seconds());
            if request.stream {
                let writer = ChunkWriter::new(id, created, public_model.to_owned(), include_usage);
                let events = Body::from_stream(events(completion, in_flight, writer, meter));
                return Ok(event_stream(service, events, error_event));
            }
            let begin = Instant::now();
            let (text, finish) = whole(completion).await?;
            exchange.note_wait(begin.elapsed());
            meter.finished(&finish);
            Ok(axum::Json(whole_answer(&id, created, public_model, &text, &finish)).into_response())
        }
    }
}

fn pass_on(
    service: &Service,
    endpoint: Endpoint,
    answer: Answer,
    in_flight: InFlight,
    meter: Meter,
) -> Response {
    match answer {
        Answer::Whole { status, retry_after, body } => {
            meter.whole(status.is_success(), &body);
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = status;
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            if let Some(retry_after) = retry_after {
                response.headers_mut().insert(RETRY_AFTER, retry_after);
            }
            response
        }
        Answer::Stream(incoming, deadline) => {
            let (last_words, in_trouble): (LastWords, fn(Trouble) -> Bytes) = match endpoint {
                Endpoint::Responses => {
                    (error_event_of_response, |trouble| error_event_of_response(&trouble.into()))
                }
                _ => (error_event, |trouble| error_event(&trouble.into())),
            };
            let guarded = Guarded { end: endpoint.stream_end(), last_words: in_trouble };
            let stream = GuardedStream::new(incoming, deadline, guarded, in_flight).metered(meter);
            event_stream(service, Body::new(stream), last_words)
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
    mut meter: Meter,
) -> impl futures::Stream<Item = Result<Bytes, Infallible>> {
    let start = writer.start();
    let rest = answer.map(move |piece| {
        let _kept_until_the_end = &in_flight;
        match piece {
            Ok(Piece::Text(text)) => {
                meter.piece();
                writer.text(&text)
            }
            Ok(Piece::Finished(finish)) => {
                meter.finished(&finish);
                writer.end(&finish)
            }
            Err(error) => error_event(&ApiError::from(error)),
        }
    });
    futures::stream::once(async move { start }).chain(rest).map(Ok)
}
