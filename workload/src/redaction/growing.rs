//! One text of a stream, of which pieces come in events: how far it is known what in it is a secret.

use super::AnswerRedaction;
use super::patterns::Secret;
use std::collections::VecDeque;
use std::ops::Range;

/// What comes before undecided text and has to be known to tell where a word begins, bytes.
const CONTEXT_BYTES: usize = 1;
/// A text that waits is looked at again when what waits of it has grown by this part, so that a long one is not gone through for each word that is added.
const GROWTH_DIVISOR: usize = 8;

/// The end of a text: what is not decided, and the byte before it.
pub(super) struct Growing {
    /// Who says it.
    pub(super) speaker: u64,
    /// In which field.
    pub(super) field: u64,
    /// The number of its last piece among those of all texts.
    pub(super) last_piece: u64,
    end: Vec<u8>,
    /// How much of the whole text comes before `end`, bytes.
    before: usize,
    /// Up to where it is decided, bytes of the whole text; so are all places here.
    decided: usize,
    pieces: VecDeque<Placed>,
    look_again_at: usize,
}

/// A piece, and where it stands.
struct Placed {
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
    /// Before the first piece.
    pub(super) fn of(speaker: u64, field: u64) -> Self {
        Self {
            speaker,
            field,
            last_piece: 0,
            end: Vec::new(),
            before: 0,
            decided: 0,
            pieces: VecDeque::new(),
            look_again_at: 0,
        }
    }

    /// More of it, which stands at a place of an event.
    pub(super) fn push(&mut self, piece: &[u8], event: u64, at: usize) {
        let start = self.length();
        self.end.extend_from_slice(piece);
        self.pieces.push_back(Placed { place: start..start + piece.len(), event, at });
    }

    /// Decides what can be, or all, should this be the end; gives what changes thereby, and tells which events need not wait for this text any more.
    pub(super) fn decide(
        &mut self,
        redaction: &AnswerRedaction,
        is_end: bool,
        mut released: impl FnMut(u64),
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        if is_end || self.length() >= self.look_again_at {
            let (mut from, end) = (self.decided - self.before, self.end.len());
            let mut search = redaction.documents.patterns.search(&self.end, from..end);
            from = loop {
                let secret = search.next();
                let until = secret.as_ref().map_or(end, |secret| secret.place.start + 1);
                let waits = || redaction.unfinished.first(&self.end, from..until);
                match (if is_end { None } else { waits() }, secret) {
                    (Some(place), _) => break place,
                    (None, None) => break end,
                    (None, Some(secret)) => {
                        changes.extend(self.changes(&secret));
                        from = secret.place.end;
                    }
                }
            };
            self.decided = self.before + from;
            self.look_again_at = self.length() + (self.length() - self.decided) / GROWTH_DIVISOR;
        }
        let is_decided = |piece: &&Placed| piece.place.end <= self.decided;
        let count = self.pieces.iter().take_while(is_decided).count();
        self.pieces.drain(..count).for_each(|piece| released(piece.event));
        self.forget();
        changes
    }

    fn length(&self) -> usize {
        self.before + self.end.len()
    }

    fn changes(&self, secret: &Secret) -> Vec<Change> {
        let place = self.before + secret.place.start..self.before + secret.place.end;
        let mut begins = Some(secret.pattern);
        let change = |piece: &Placed| {
            let (start, end) = (piece.place.start.max(place.start), piece.place.end.min(place.end));
            let in_event = |place: usize| place - piece.place.start + piece.at;
            (start < end).then(|| Change {
                event: piece.event,
                place: in_event(start)..in_event(end),
                begins: begins.take(),
            })
        };
        self.pieces.iter().filter_map(change).collect()
    }

    /// What is decided is of no more use, but for the context.
    fn forget(&mut self) {
        let decided = (self.decided - self.before).saturating_sub(CONTEXT_BYTES);
        self.end.drain(..decided);
        self.end.shrink_to(2 * self.end.len());
        self.before += decided;
    }
}
