//! Asking backends, and what passes through: bytes from one that speaks as the client does, pieces from any other one.

use super::begun_answer::BegunAnswer;
use super::cache::FromBackend;
use super::error::ApiError;
use super::events::{event_stream, last_words};
use super::exchange::Exchange;
use super::pieces::Pieces;
use super::route_header::tell_route;
use super::secrets::AnswerRedactor;
use crate::attempts::Answered;
use crate::backend::{Answer, BackendError, InFlight, StreamEnd};
use crate::cache::{Place, Recording};
use crate::gateway::{Guarded, GuardedStream, Meter, ModelAnswer, ModelQuestion, ModelRequest};
use crate::limits::Reservation;
use crate::routing::{PublicModel, Target};
use crate::service::Service;
use crate::snapshot::Snapshot;
use axum::body::Body;
use axum::response::IntoResponse;
use codecrucible_contract::Urgency;
use http::StatusCode;
use http::header::RETRY_AFTER;
use std::sync::Arc;

/// A request that backends are asked.
pub(super) struct Asking<'a> {
    pub(super) service: &'a Service,
    pub(super) snapshot: &'a Snapshot,
    pub(super) exchange: &'a Exchange,
    pub(super) request: &'a ModelRequest,
    pub(super) public_model: &'a Arc<PublicModel>,
    pub(super) urgency: Urgency,
    pub(super) place: Option<Place>,
    pub(super) secrets: AnswerRedactor,
}

impl Asking<'_> {
    pub(super) async fn ask(
        mut self,
        question: &ModelQuestion<'_>,
        (targets, better): (&[&Target], &[&Target]),
        reservation: Option<Reservation>,
    ) -> FromBackend {
        let exchange = self.exchange;
        let meter = Meter::new(
            exchange.tokens().clone(),
            reservation,
            self.request.endpoint,
            self.request.estimated_prompt_tokens(),
        );
        let (answered, ledger) =
            self.service.attempts(self.snapshot, self.urgency).first_answer(question, targets, better).await;
        let ledger = exchange.note_attempts(ledger);
        if !answered.as_ref().is_ok_and(|answered| is_of_first_choice(answered, targets)) {
            // What was answered in need is not what would be answered later.
            self.place = None;
        }
        if !better.is_empty() {
            let model = answered.as_ref().map_or(self.public_model, |answered| &answered.target.public_model);
            exchange.note_model(model);
        }
        let keeps = self.place.is_some();
        let answer = match answered {
            Ok(answered) => self.respond(question, answered, meter).await,
            Err(error) => {
                meter.failed(&error);
                Err(error)
            }
        };
        let FromBackend { response, content } = answer.unwrap_or_else(|error| FromBackend {
            response: ApiError::from(error).into_response(),
            content: None,
        });
        FromBackend { response: tell_route(response, ledger), content: content.filter(|_| keeps) }
    }

    async fn respond(
        self,
        question: &ModelQuestion<'_>,
        answered: Answered<'_, ModelAnswer>,
        meter: Meter,
    ) -> Result<FromBackend, BackendError> {
        let Answered { target, answer, in_flight, is_short } = answered;
        let meter = if is_short { meter } else { meter.also(question.unused()) };
        let pieces = |chat| Pieces {
            service: self.service,
            exchange: self.exchange,
            endpoint: self.request.endpoint,
            chat,
            public_model: target.public_model.name(),
            secrets: &self.secrets,
        };
        match (answer, question.chat()) {
            (ModelAnswer::Passing(answer), _) => Ok(self.pass_on(answer, in_flight, meter)),
            (ModelAnswer::Refusal(refusal), _) => {
                meter.whole(false, &[]);
                Ok(FromBackend::passing(
                    ApiError::refused_by_backend(self.secrets.refusal(refusal)).into_response(),
                ))
            }
            (ModelAnswer::Pieces(deltas), Some(chat)) if self.request.stream => {
                Ok(pieces(chat).stream(deltas, in_flight, meter, self.place))
            }
            (ModelAnswer::Pieces(deltas), Some(chat)) => pieces(chat).whole(deltas, in_flight, meter).await,
            // Pieces are what a chat is answered with.
            (ModelAnswer::Pieces(_), None) => Err(BackendError::Failed),
        }
    }

    fn pass_on(self, answer: Answer, in_flight: Option<InFlight>, meter: Meter) -> FromBackend {
        match answer {
            Answer::Whole { status: StatusCode::OK, body, .. } => {
                meter.whole(true, &body);
                FromBackend::whole(self.secrets.document(body))
            }
            Answer::Whole { status, retry_after, body } => {
                meter.whole(status.is_success(), &body);
                let mut response = FromBackend::whole(self.secrets.document(body)).response;
                *response.status_mut() = status;
                if let Some(retry_after) = retry_after {
                    response.headers_mut().insert(RETRY_AFTER, retry_after);
                }
                FromBackend::passing(response)
            }
            Answer::Stream(incoming, deadline) => {
                let endpoint = self.request.endpoint;
                let (last_words, in_trouble) = last_words(endpoint);
                let end = endpoint.stream_end();
                let recording = self.place.filter(|_| end != StreamEnd::Connection).map(Recording::new);
                let guarded = Guarded { end, last_words: in_trouble };
                let begun = BegunAnswer::new(self.service, self.exchange, in_flight);
                let stream = GuardedStream::new(incoming, deadline, guarded, move |error| begun.broke(error))
                    .redacted(self.secrets.events());
                let stream = stream.metered(meter).recorded(recording);
                FromBackend::passing(event_stream(self.service, self.exchange, Body::new(stream), last_words))
            }
        }
    }
}

/// Whether it is a good answer of one of those that are asked first while they can be.
fn is_of_first_choice(answered: &Answered<'_, ModelAnswer>, targets: &[&Target]) -> bool {
    let first = targets.iter().map(|target| target.priority).min();
    let is_among_them = targets.iter().any(|target| std::ptr::eq(*target, answered.target));
    is_among_them && !answered.is_short && Some(answered.target.priority) == first
}
