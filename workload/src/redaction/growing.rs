//! One text of a stream, of which pieces come in events: how far it is known what in it is a secret.

use super::AnswerRedaction;
use super::patterns::Secret;
use std::collections::VecDeque;
use std::ops::Range;

/// What comes before undecided text and has to be known to tell where a word begins, bytes.
const CONTEXT_BYTES: usize = 1;
/// A text that waits is looked at again when it has grown by this part, so that a long one is not gone through for each word that is added.
const GROWTH: usize = 8;

/// The end of a text: what is not decided, and the byte before it.
#[derive(Default)]
pub(super) struct Growing {
    end: Vec<u8>,
    /// How much of the whole text comes before `end`, bytes.
    before: usize,
    /// Up to where it is decided, bytes of the whole text; so are all places here.
    decided: usize,
    parts: VecDeque<Part>,
    look_again_at: usize,
}

/// A piece, and where it stands.
struct Part {
    place: Range<usize>,
    event: u64,
    at: usize,
}

/// What becomes of a part of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Which event.
    pub(super) event: u64,
    /// Where in it, bytes.
    pub(super) place: Range<usize>,
    /// Of which pattern the secret is that begins here; of one that began before, nothing.
    pub(super) begins: Option<usize>,
}

impl Growing {
    /// More of it, which stands at a place of an event.
    pub(super) fn push(&mut self, piece: &[u8], event: u64, at: usize) {
        let start = self.length();
        self.end.extend_from_slice(piece);
        self.parts.push_back(Part { place: start..start + piece.len(), event, at });
    }

    /// Decides what can be, or all, should this be the end; gives what changes thereby, and notes which events need not wait for this text any more.
    pub(super) fn decide(
        &mut self,
        redaction: &AnswerRedaction,
        is_end: bool,
        mut released: impl FnMut(u64),
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        if is_end || self.length() >= self.look_again_at {
            let mut from = self.decided - self.before;
            from = loop {
                let secret = redaction.whole.patterns.search(&self.end, from..self.end.len()).next();
                let until = secret.as_ref().map_or(self.end.len(), |secret| secret.place.start + 1);
                let waits = || redaction.unfinished.first(&self.end, from..until);
                match (if is_end { None } else { waits() }, secret) {
                    (Some(place), _) => break place,
                    (None, None) => break self.end.len(),
                    (None, Some(secret)) => {
                        changes.extend(self.changes(&secret));
                        from = secret.place.end;
                    }
                }
            };
            self.decided = self.before + from;
            self.look_again_at = self.length() + (self.length() - self.decided) / GROWTH;
        }
        let is_decided = |part: &&Part| part.place.end <= self.decided;
        let count = self.parts.iter().take_while(is_decided).count();
        self.parts.drain(..count).for_each(|part| released(part.event));
        self.forget();
        changes
    }

    fn length(&self) -> usize {
        self.before + self.end.len()
    }

    fn changes(&self, secret: &Secret) -> Vec<Change> {
        let secret_place = self.before + secret.place.start..self.before + secret.place.end;
        let mut begins = Some(secret.pattern);
        let change = |part: &Part| {
            let (start, end) =
                (part.place.start.max(secret_place.start), part.place.end.min(secret_place.end));
            let offset = part.at.wrapping_sub(part.place.start);
            let place = start.wrapping_add(offset)..end.wrapping_add(offset);
            (start < end).then(|| Change { event: part.event, place, begins: begins.take() })
        };
        self.parts.iter().filter_map(change).collect()
    }

    /// What is decided is of no more use, but for the context.
    fn forget(&mut self) {
        let decided = (self.decided - self.before).saturating_sub(CONTEXT_BYTES);
        self.end.drain(..decided);
        self.before += decided;
    }
}
