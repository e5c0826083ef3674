//! An answer as it is kept: a document, or all events of a stream, if it is whole and not too long.

use super::worth::{are_whole_events, is_whole_document};
use crate::backend::Endpoint;
use bytes::Bytes;
use std::time::{Duration, Instant};

/// Largest answer that is kept, bytes.
pub(super) const MAX_KEPT_BYTES: usize = 4 * 1024 * 1024;

/// What an answer is, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A JSON document.
    Document(Bytes),
    /// All events of a stream.
    Events(Bytes),
}

impl Content {
    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        let (Self::Document(bytes) | Self::Events(bytes)) = self;
        bytes
    }

    pub(super) fn is_worth_keeping(&self, endpoint: Endpoint) -> bool {
        let is_whole = || match self {
            Self::Document(document) => is_whole_document(endpoint, document),
            Self::Events(events) => are_whole_events(endpoint, events),
        };
        self.bytes().len() <= MAX_KEPT_BYTES && is_whole()
    }

    /// In memory of its own: what was read may be a piece of something larger, which would be kept with it.
    pub(super) fn detached(self) -> Self {
        match self {
            Self::Document(document) => Self::Document(Bytes::copy_from_slice(&document)),
            Self::Events(events) => Self::Events(events),
        }
    }
}

/// An answer that was kept.
#[derive(Debug)]
pub struct KeptAnswer {
    /// What it is.
    pub content: Content,
    pub(super) at: Instant,
    pub(super) ttl: Duration,
}

impl KeptAnswer {
    /// How old it is.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.at)
    }
}
