//! An answer in pieces on its way to a client, in the client's dialect.

use super::cache::FromBackend;
use super::error::ApiError;
use super::events::{event_stream, last_words};
use super::exchange::Exchange;
use super::farewell::LastWords;
use super::identifiers::{now_seconds, unique};
use crate::backend::{BackendError, Deltas, Endpoint, InFlight};
use crate::cache::{Place, Recording};
use crate::dialects::{Chat, Delta, Head, StreamWriter, anthropic, openai};
use crate::gateway::{Meter, collected};
use crate::service::Service;
use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt as _;
use std::convert::Infallible;
use std::time::Instant;

/// How pieces are put for a client.
pub(super) struct Pieces<'a> {
    pub(super) service: &'a Service,
    pub(super) exchange: &'a Exchange,
    pub(super) endpoint: Endpoint,
    pub(super) chat: &'a Chat,
    pub(super) public_model: &'a str,
}

impl Pieces<'_> {
    /// All of them, in one document.
    pub(super) async fn whole(self, deltas: Deltas, meter: Meter) -> Result<FromBackend, BackendError> {
        let begin = Instant::now();
        let (answer, bytes) = collected(deltas).await?;
        self.exchange.note_wait(begin.elapsed());
        meter.said_in_all(answer.usage, bytes);
        let document = match self.endpoint {
            Endpoint::Messages => anthropic::whole_answer(&self.head(), answer, self.chat.show_reasoning),
            _ => openai::whole_answer(&self.head(), answer).to_string(),
        };
        Ok(FromBackend::whole(Bytes::from(document)))
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
            _ => Box::new(openai::Writer::new(self.head(), self.chat.include_usage)),
        };
        let (last_words, _) = last_words(self.endpoint);
        let writing = Writing { writer, meter, recording: place.map(Recording::new), last_words };
        let events = events(deltas, in_flight, writing);
        FromBackend::passing(event_stream(self.service, Body::from_stream(events), last_words))
    }

    fn head(&self) -> Head {
        let id = match self.endpoint {
            Endpoint::Messages => unique("msg"),
            _ => unique("chatcmpl"),
        };
        Head { id, created: now_seconds(), model: self.public_model.to_owned() }
    }
}

/// What there is to do with each piece of a stream.
struct Writing {
    writer: Box<dyn StreamWriter>,
    meter: Meter,
    recording: Option<Recording>,
    last_words: LastWords,
}

impl Writing {
    fn piece(&mut self, piece: Result<Delta, BackendError>) -> Bytes {
        let (event, is_end) = match piece {
            Ok(delta) => {
                match &delta {
                    Delta::Usage(usage) => self.meter.said(*usage),
                    Delta::Stop(_) | Delta::End => {}
                    delta => self.meter.piece(delta.text()),
                }
                let is_end = delta == Delta::End;
                (self.writer.write(delta), is_end)
            }
            Err(error) => {
                self.recording = None;
                ((self.last_words)(&ApiError::from(error)), false)
            }
        };
        self.record(&event);
        if is_end {
            self.recording.take().into_iter().for_each(Recording::keep);
        }
        event
    }

    fn record(&mut self, event: &Bytes) {
        self.recording.iter_mut().for_each(|recording| recording.frame(event));
    }
}

fn events(
    deltas: Deltas,
    in_flight: Option<InFlight>,
    mut writing: Writing,
) -> impl futures::Stream<Item = Result<Bytes, Infallible>> {
    let start = writing.writer.start();
    writing.record(&start);
    let rest = deltas.filter_map(move |piece| {
        let _kept_until_the_end = &in_flight;
        let event = writing.piece(piece);
        // An empty frame says nothing.
        std::future::ready((!event.is_empty()).then_some(event))
    });
    futures::stream::once(async move { start }).chain(rest).map(Ok)
}
