//! Asking backends, and what passes through: bytes to a remote one and back, or OpenAI's documents around the embedded one.

use super::cache::FromBackend;
use super::error::ApiError;
use super::events::{error_event, error_event_of_response, event_stream};
use super::exchange::Exchange;
use super::farewell::LastWords;
use super::identifiers::{now_seconds, unique};
use super::route_header::tell_route;
use crate::attempts::{Answered, Ledger};
use crate::backend::{Answer, BackendError, Completion, Endpoint, Finish, InFlight, Piece, StreamEnd};
use crate::cache::{Place, Recording};
use crate::gateway::{
    ChunkWriter, Guarded, GuardedStream, Meter, OpenAiAnswer, OpenAiQuestion, OpenAiRequest, Trouble,
    whole_answer,
};
use crate::limits::Reservation;
use crate::routing::Target;
use crate::service::Service;
use crate::snapshot::Snapshot;
use axum::body::Body;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures::StreamExt as _;
use http::StatusCode;
use http::header::RETRY_AFTER;
use std::convert::Infallible;
use std::time::Instant;

/// A request that backends are asked.
pub(super) struct Asking<'a> {
    pub(super) service: &'a Service,
    pub(super) snapshot: &'a Snapshot,
    pub(super) exchange: &'a Exchange,
    pub(super) request: &'a OpenAiRequest,
    pub(super) public_model: &'a str,
    pub(super) place: Option<Place>,
}

impl Asking<'_> {
    pub(super) async fn ask(
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
        let answer = match answered {
            Ok(answered) => self.respond(answered, meter).await,
            Err(error) => {
                meter.failed(&error);
                Err(error)
            }
        };
        let FromBackend { response, content } = answer.unwrap_or_else(|error| FromBackend {
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

/// Whether it was answered by one of those that are asked first while they can be.
fn is_of_first_choice(ledger: &Ledger, targets: &[&Target]) -> bool {
    let answered = targets.iter().find(|target| Some(target.backend.name()) == ledger.backend());
    let first = targets.iter().map(|target| target.priority).min();
    answered.map(|target| target.priority) == first
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
