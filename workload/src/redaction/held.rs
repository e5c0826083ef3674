//! Events in their order, from the first one on that has to wait.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::ops::Range;

/// Events that are on their way to a client.
#[derive(Default)]
pub(super) struct HeldEvents {
    events: VecDeque<Event>,
    /// The number of the first one.
    first: u64,
    bytes: usize,
}

struct Event {
    bytes: Bytes,
    /// How many of its pieces are not decided.
    undecided: usize,
    changes: Vec<(Range<usize>, String)>,
}

impl HeldEvents {
    /// What they take of memory, bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// One more, by the number that it gets.
    pub(super) fn push(&mut self, bytes: Bytes) -> u64 {
        self.bytes += weight(&bytes);
        self.events.push_back(Event { bytes, undecided: 0, changes: Vec::new() });
        self.first + self.events.len() as u64 - 1
    }

    /// One that waited for nothing has gone, and nothing comes of what is said of it.
    fn event(&mut self, number: u64) -> Option<&mut Event> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.events.get_mut(index)
    }

    /// It waits until a piece of it is decided.
    pub(super) fn hold(&mut self, number: u64) {
        if let Some(event) = self.event(number) {
            event.undecided += 1;
        }
    }

    /// A piece of it is decided.
    pub(super) fn let_go(&mut self, number: u64) {
        if let Some(event) = self.event(number) {
            event.undecided = event.undecided.saturating_sub(1);
        }
    }

    /// Something else is to stand at a place of it.
    pub(super) fn change(&mut self, number: u64, place: Range<usize>, instead: String) {
        if let Some(event) = self.event(number) {
            event.changes.push((place, instead));
        }
    }

    /// Those that need not wait any more, changed. One by itself is not copied.
    pub(super) fn released(&mut self) -> Bytes {
        let count = self.events.iter().take_while(|event| event.undecided == 0).count();
        self.first += count as u64;
        let mut released: Vec<Bytes> = Vec::with_capacity(count);
        for event in self.events.drain(..count) {
            self.bytes -= weight(&event.bytes);
            released.push(event.changed());
        }
        if released.len() > 1 { released.concat().into() } else { released.pop().unwrap_or_default() }
    }
}

fn weight(event: &Bytes) -> usize {
    event.len() + size_of::<Event>()
}

impl Event {
    fn changed(mut self) -> Bytes {
        if self.changes.is_empty() {
            return self.bytes;
        }
        self.changes.sort_unstable_by_key(|(place, _)| place.start);
        spliced(&self.bytes, self.changes)
    }
}

/// Bytes with something else at some places, which are in their order.
pub(super) fn spliced(bytes: &[u8], changes: impl IntoIterator<Item = (Range<usize>, String)>) -> Bytes {
    let (mut spliced, mut from) = (BytesMut::with_capacity(bytes.len()), 0);
    for (place, instead) in changes {
        spliced.extend_from_slice(&bytes[from..place.start]);
        spliced.extend_from_slice(instead.as_bytes());
        from = place.end;
    }
    spliced.extend_from_slice(&bytes[from..]);
    spliced.freeze()
}
