//! What passes through: bytes to a remote backend and back, or OpenAI's documents around the embedded one.

use super::admission::{Admitted, admit};
use super::authentication::Caller;
use super::body::{self, MAX_BODY_BYTES};
use super::cache::{FromBackend, Keeping};
use super::error::ApiError;
use super::events::{error_event, error_event_of_response, event_stream};
use super::exchange::Exchange;
use super::farewell::LastWords;
use super::identifiers::{now_seconds, unique};
use super::limits::{self, Wanted, tell_limits};
use super::route_header::tell_route;
use crate::attempts::{Answered, Ledger};
use crate::authorization::Action;
use crate::backend::{Answer, BackendError, Completion, Endpoint, Finish, InFlight, Piece, StreamEnd};
use crate::cache::{ABSENT, Asked, Directives, Place, Recording};
use crate::gateway::{
    ChunkWriter, Guarded, GuardedStream, Meter, OpenAiAnswer, OpenAiQuestion, OpenAiRequest, Trouble,
    whole_answer,
};
use crate::limits::{Allowance, Reservation};
use crate::routing::Target;
use crate::service::Service;
use crate::snapshot::Snapshot;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use bytes::Bytes;
use codecrucible_contract::LimitedRoute;
use futures::StreamExt as _;
use http::StatusCode;
use http::header::RETRY_AFTER;
use std::convert::Infallible;
use std::time::Instant;

/// A route of OpenAI's API.
pub(super) fn route(endpoint: Endpoint) -> MethodRouter<Service> {
    post(
        move |State(service): State<Service>,
              Extension(caller): Extension<Caller>,
              Extension(exchange): Extension<Exchange>,
              request: Request| answer(service, caller, exchange, endpoint, request),
    )
}

async fn answer(
    service: Service,
    caller: Caller,
    exchange: Exchange,
    endpoint: Endpoint,
    request: Request,
) -> Result<Response, ApiError> {
    let directives = Directives::of(request.headers());
    let body = body::read(&service, &exchange, request.into_body(), MAX_BODY_BYTES).await?;
    let request = OpenAiRequest::parse(endpoint, body.bytes.clone())?;
    let snapshot = service.snapshot();
    let Admitted { public_model, targets } =
        admit(&service, &snapshot, &caller, Action::Complete, Some(&request.model))?;
    let all_targets = targets.clone();
    let (question, targets) = OpenAiQuestion::new(&request, exchange.correlation(), targets)?;
    let wanted =
        Wanted { route: endpoint.into(), model: Some(public_model), tokens: request.estimated_tokens() };
    let Allowance { told, reservation, .. } =
        limits::allowance(&service, &snapshot, (&caller, &exchange), wanted).await?;
    exchange.note_model(public_model);
    let place = if directives.no_store {
        None
    } else {
        place(&service, &snapshot, &caller, (&request, public_model), &all_targets)
    };
    let asking = Asking {
        service: &service,
        snapshot: &snapshot,
        exchange: &exchange,
        request: &request,
        public_model,
        place: place.clone(),
    };
    let ask = asking.ask(&question, &targets, reservation);
    let response = match place {
        Some(place) => {
            let (service, exchange, is_stream) = (&service, &exchange, request.stream);
            Keeping { service, exchange, place, directives, is_stream }.answer(ask).await
        }
        None if directives.only_if_cached => {
            exchange.note_cache(ABSENT);
            Err(ApiError::not_kept())
        }
        None => Ok(ask.await.response),
    };
    Ok(tell_limits(response.unwrap_or_else(ApiError::into_response), &told))
}

/// Where the answer is kept, if it is to be.
fn place(
    service: &Service,
    snapshot: &Snapshot,
    caller: &Caller,
    (request, model): (&OpenAiRequest, &str),
    targets: &[&Target],
) -> Option<Place> {
    let policy = snapshot.bundle.policy().cache.as_ref();
    let OpenAiRequest { endpoint, is_deterministic, .. } = *request;
    let asked = Asked { endpoint, model, client: &caller.principal.subject, is_deterministic };
    service.cache().place(policy, &asked, targets, request.text())
}

/// Whether it was answered by one of those that are asked first while they can be.
fn is_of_first_choice(ledger: &Ledger, targets: &[&Target]) -> bool {
    let answered = targets.iter().find(|target| Some(target.backend.name()) == ledger.backend());
    let first = targets.iter().map(|target| target.priority).min();
    answered.map(|target| target.priority) == first
}

/// A request that backends are asked.
struct Asking<'a> {
    service: &'a Service,
    snapshot: &'a Snapshot,
    exchange: &'a Exchange,
    request: &'a OpenAiRequest,
    public_model: &'a str,
    place: Option<Place>,
}

impl Asking<'_> {
    async fn ask(
        mut self,
        question: &OpenAiQuestion<'_>,
        targets: &[&Target],
        reservation: Option<Reservation>,
    ) -> FromBackend {
        let exchange = self.exchange;
        let meter =
            Meter::new(exchange.tokens().clone(), reservation, self.request.estimated_prompt_tokens());
        let (answered, ledger) = self.service.attempts(self.snapshot).first_answer(question, targets).await;
        exchange.note_wait(ledger.waited());
        exchange.note_backend(ledger.backend(), ledger.tried.len());
        if !is_of_first_choice(&ledger, targets) {
            // What was answered in need is not what would be answered later.
            self.place = None;
        }
        let keeps = self.place.is_some();
        let fresh = match answered {
            Ok(answered) => self.respond(answered, meter).await,
            Err(error) => {
                meter.failed(&error);
                Err(error)
            }
        };
        let FromBackend { response, content } = fresh.unwrap_or_else(|error| FromBackend {
            response: ApiError::from(error).into_response(),
            content: None,
        });
        FromBackend { response: tell_route(response, &ledger), content: content.filter(|_| keeps) }
    }

    async fn respond(
        self,
        answered: Answered<OpenAiAnswer>,
        mut meter: Meter,
    ) -> Result<FromBackend, BackendError> {
        let Answered { answer, in_flight } = answered;
        match answer {
            OpenAiAnswer::Remote(answer) => Ok(self.pass_on(answer, in_flight, meter)),
            OpenAiAnswer::Embedded { completion, include_usage } => {
                let (id, created) = (unique("chatcmpl"), now_seconds());
                if self.request.stream {
                    let writer = ChunkWriter::new(id, created, self.public_model.to_owned(), include_usage);
                    let recording = self.place.map(Recording::new);
                    let events = events(completion, in_flight, writer, (meter, recording));
                    return Ok(FromBackend::passing(event_stream(
                        self.service,
                        Body::from_stream(events),
                        error_event,
                    )));
                }
                let begin = Instant::now();
                let (text, finish) = whole(completion).await?;
                self.exchange.note_wait(begin.elapsed());
                meter.finished(&finish);
                let document = whole_answer(&id, created, self.public_model, &text, &finish);
                Ok(FromBackend::whole(Bytes::from(document.to_string())))
            }
        }
    }

    fn pass_on(self, answer: Answer, in_flight: InFlight, meter: Meter) -> FromBackend {
        match answer {
            Answer::Whole { status: StatusCode::OK, body, .. } => {
                meter.whole(true, &body);
                FromBackend::whole(body)
            }
            Answer::Whole { status, retry_after, body } => {
                meter.whole(status.is_success(), &body);
                let mut response = FromBackend::whole(body).response;
                *response.status_mut() = status;
                if let Some(retry_after) = retry_after {
                    response.headers_mut().insert(RETRY_AFTER, retry_after);
                }
                FromBackend::passing(response)
            }
            Answer::Stream(incoming, deadline) => {
                let endpoint = self.request.endpoint;
                let (last_words, in_trouble): (LastWords, fn(Trouble) -> Bytes) = match endpoint {
                    Endpoint::Responses => {
                        (error_event_of_response, |trouble| error_event_of_response(&trouble.into()))
                    }
                    _ => (error_event, |trouble| error_event(&trouble.into())),
                };
                let end = endpoint.stream_end();
                let recording = self.place.filter(|_| end == StreamEnd::Mark).map(Recording::new);
                let guarded = Guarded { end, last_words: in_trouble };
                let stream = GuardedStream::new(incoming, deadline, guarded, in_flight);
                let stream = stream.metered(meter).recorded(recording);
                FromBackend::passing(event_stream(self.service, Body::new(stream), last_words))
            }
        }
    }
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
    (mut meter, mut recording): (Meter, Option<Recording>),
) -> impl futures::Stream<Item = Result<Bytes, Infallible>> {
    let start = writer.start();
    recording.iter_mut().for_each(|recording| recording.frame(&start));
    let rest = answer.map(move |piece| {
        let _kept_until_the_end = &in_flight;
        let (event, is_end) = match piece {
            Ok(Piece::Text(text)) => {
                meter.piece();
                (writer.text(&text), false)
            }
            Ok(Piece::Finished(finish)) => {
                meter.finished(&finish);
                (writer.end(&finish), true)
            }
            Err(error) => {
                recording = None;
                (error_event(&ApiError::from(error)), false)
            }
        };
        recording.iter_mut().for_each(|recording| recording.frame(&event));
        if is_end {
            recording.take().into_iter().for_each(Recording::keep);
        }
        event
    });
    futures::stream::once(async move { start }).chain(rest).map(Ok)
}
