//! An answer in pieces on its way to a client, in the client's dialect.

use super::begun_answer::BegunAnswer;
use super::cache::FromBackend;
use super::error::ApiError;
use super::events::{event_stream, last_words};
use super::exchange::Exchange;
use super::farewell::LastWords;
use super::identifiers::{now_seconds, unique};
use super::secrets::AnswerRedactor;
use crate::backend::{BackendError, Deltas, Endpoint, InFlight};
use crate::cache::{Place, Recording};
use crate::dialects::{Chat, Delta, Head, StreamWriter, anthropic, openai, responses};
use crate::gateway::{Meter, collected};
use crate::redaction::RedactedEvents;
use crate::service::Service;
use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt as _;
use std::convert::Infallible;
use tokio::time::Instant;

/// How pieces are put for a client.
pub(super) struct Pieces<'a> {
    pub(super) service: &'a Service,
    pub(super) exchange: &'a Exchange,
    pub(super) endpoint: Endpoint,
    pub(super) chat: &'a Chat,
    pub(super) public_model: &'a str,
    pub(super) secrets: &'a AnswerRedactor,
}

impl Pieces<'_> {
    /// All of them, in one document.
    pub(super) async fn whole(
        self,
        deltas: Deltas,
        in_flight: Option<InFlight>,
        meter: Meter,
    ) -> Result<FromBackend, BackendError> {
        let begin = Instant::now();
        let collected = collected(deltas).await;
        if let (Err(error), Some(in_flight)) = (&collected, &in_flight) {
            in_flight.broke(error, Instant::now(), &self.service.metrics().models);
        }
        let (answer, bytes) = collected?;
        self.exchange.note_wait(begin.elapsed());
        meter.said_in_all(answer.usage, bytes);
        let document = match self.endpoint {
            Endpoint::Messages => anthropic::whole_answer(&self.head(), answer, self.chat.show_reasoning),
            Endpoint::Responses => responses::whole_answer(&self.head(), answer).to_string(),
            _ => openai::whole_answer(&self.head(), answer).to_string(),
        };
        Ok(FromBackend::whole(self.secrets.document(Bytes::from(document))))
    }

    /// Each as it comes.
    pub(super) fn stream(
        self,
        deltas: Deltas,
        in_flight: Option<InFlight>,
        meter: Meter,
        place: Option<Place>,
    ) -> FromBackend {
        let writer: Box<dyn StreamWriter> = match self.endpoint {
            Endpoint::Messages => Box::new(anthropic::Writer::new(self.head(), self.chat.show_reasoning)),
            Endpoint::Responses => Box::new(responses::Writer::new(self.head())),
            _ => Box::new(openai::Writer::new(self.head(), self.chat.include_usage)),
        };
        let (last_words, _) = last_words(self.endpoint);
        let writing = Writing {
            writer,
            meter,
            secrets: self.secrets.events(),
            recording: place.map(Recording::new),
            last_words,
        };
        let events = events(deltas, BegunAnswer::new(self.service, self.exchange, in_flight), writing);
        FromBackend::passing(event_stream(self.service, self.exchange, Body::from_stream(events), last_words))
    }

    fn head(&self) -> Head {
        let id = match self.endpoint {
            Endpoint::Messages => unique("msg"),
            Endpoint::Responses => unique("resp"),
            _ => unique("chatcmpl"),
        };
        Head { id, created: now_seconds(), model: self.public_model.to_owned() }
    }
}

/// What there is to do with each piece of a stream.
struct Writing {
    writer: Box<dyn StreamWriter>,
    meter: Meter,
    secrets: Option<RedactedEvents>,
    recording: Option<Recording>,
    last_words: LastWords,
}

impl Writing {
    /// How the stream begins.
    fn start(&mut self) -> Bytes {
        let event = self.writer.start();
        let event = self.without_secrets(event).unwrap_or_default();
        self.record(&event);
        event
    }

    /// What a piece of an answer comes to, and whether it is the last one.
    fn piece(&mut self, piece: Result<Delta, BackendError>, of: &BegunAnswer) -> (Bytes, bool) {
        let is_end = piece == Ok(Delta::End);
        let event = piece.and_then(|delta| self.written(delta));
        match event {
            Ok(mut event) => {
                if is_end && let Some(secrets) = &mut self.secrets {
                    event = [event, secrets.finish()].concat().into();
                }
                self.record(&event);
                if is_end {
                    self.recording.take().into_iter().for_each(Recording::keep);
                }
                (event, is_end)
            }
            Err(error) => {
                of.broke(&error);
                self.recording = None;
                let waiting = self.secrets.as_mut().map(RedactedEvents::finish).unwrap_or_default();
                let last_words = (self.last_words)(&ApiError::from(error));
                ([waiting, last_words].concat().into(), true)
            }
        }
    }

    fn written(&mut self, delta: Delta) -> Result<Bytes, BackendError> {
        match &delta {
            Delta::Usage(usage) => self.meter.said(*usage),
            Delta::Stop(_) | Delta::End => {}
            delta => self.meter.piece(delta.text()),
        }
        let event = self.writer.write(delta);
        if self.writer.is_too_long() {
            return Err(BackendError::TooLarge);
        }
        self.without_secrets(event)
    }

    fn without_secrets(&mut self, event: Bytes) -> Result<Bytes, BackendError> {
        match &mut self.secrets {
            Some(secrets) => secrets.push(&event),
            None => Ok(event),
        }
    }

    fn record(&mut self, event: &Bytes) {
        self.recording.iter_mut().for_each(|recording| recording.frame(event));
    }
}

fn events(
    deltas: Deltas,
    begun: BegunAnswer,
    mut writing: Writing,
) -> impl futures::Stream<Item = Result<Bytes, Infallible>> {
    let start = writing.start();
    let rest = futures::stream::unfold(Some((deltas, writing, begun)), |going_on| async move {
        let (mut deltas, mut writing, begun) = going_on?;
        loop {
            let (event, is_last) = writing.piece(deltas.next().await?, &begun);
            // An empty frame says nothing.
            if is_last || !event.is_empty() {
                return Some((event, (!is_last).then_some((deltas, writing, begun))));
            }
        }
    });
    futures::stream::once(async move { start }).chain(rest).map(Ok)
}
