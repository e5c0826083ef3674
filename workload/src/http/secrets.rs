//! Secrets in requests and in answers: taken out where the policy says so, counted and noted.

use super::exchange::Exchange;
use crate::backend::{Endpoint, Refusal};
use crate::redaction::{AnswerRedaction, Found, FoundNote, RedactedEvents};
use crate::service::Service;
use crate::snapshot::Snapshot;
use bytes::Bytes;
use prometheus::IntCounterVec;
use std::sync::Arc;

/// The body of a request without secrets.
pub(super) fn redacted(service: &Service, snapshot: &Snapshot, exchange: &Exchange, body: Bytes) -> Bytes {
    let Some(redaction) = &snapshot.redaction else { return body };
    let (body, found) = redaction.apply(body);
    if let Some(found) = found {
        count(&service.metrics().secrets, "request", &found);
        exchange.note_secrets(found);
    }
    body
}

fn count(secrets: &IntCounterVec, side: &str, found: &Found) {
    let action = if found.is_shadow { "would_redact" } else { "redacted" };
    for (pattern, count) in &found.counts {
        secrets.with_label_values(&[pattern.as_str(), action, side]).inc_by(*count);
    }
}

/// What takes secrets out of one answer, if anything does.
#[derive(Clone)]
pub(super) struct AnswerRedactor(Option<Looking>);

#[derive(Clone)]
struct Looking {
    redaction: Arc<AnswerRedaction>,
    note: FoundNote,
    counter: IntCounterVec,
}

impl Looking {
    fn tell(&self, found: &Found) {
        count(&self.counter, "answer", found);
        self.note.add(found);
    }
}

impl AnswerRedactor {
    /// Of an endpoint where answers are texts.
    pub(super) fn of(
        endpoint: Endpoint,
        service: &Service,
        snapshot: &Snapshot,
        exchange: &Exchange,
    ) -> Self {
        // What is written in Base64 there are numbers.
        let is_text = endpoint != Endpoint::Embeddings;
        if is_text { Self::of_texts(service, snapshot, exchange) } else { Self(None) }
    }

    pub(super) fn of_texts(service: &Service, snapshot: &Snapshot, exchange: &Exchange) -> Self {
        let looking = |redaction: &Arc<AnswerRedaction>| Looking {
            redaction: Arc::clone(redaction),
            note: exchange.answer_secrets().clone(),
            counter: service.metrics().secrets.clone(),
        };
        Self(snapshot.answer_redaction.as_ref().map(looking))
    }

    /// A whole document without them.
    pub(super) fn document(&self, document: Bytes) -> Bytes {
        let Some(looking) = &self.0 else { return document };
        let (document, found) = looking.redaction.apply(document);
        found.iter().for_each(|found| looking.tell(found));
        document
    }

    /// A backend's own words without them.
    pub(super) fn refusal(&self, refusal: Refusal) -> Refusal {
        let written = serde_json::Value::from(refusal.message.as_str()).to_string();
        let message = serde_json::from_slice(&self.document(written.into())).unwrap_or_default();
        Refusal { message, ..refusal }
    }

    /// What takes them out of a stream, event by event.
    pub(super) fn events(&self) -> Option<RedactedEvents> {
        let looking = self.0.clone()?;
        Some(RedactedEvents::new(Arc::clone(&looking.redaction), move |found| looking.tell(found)))
    }
}
