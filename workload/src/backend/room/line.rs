//! Who waits for room: the urgent before the others, and of the same urgency those first who came first. It has a length; a more urgent one that
//! comes when it is full takes the place of the last. Pure.

use codecrucible_contract::Urgency;
use std::collections::BTreeMap;

/// By when they have their turn.
pub(super) type Ticket = (Urgency, u64);

/// Those who wait, each with what it is called by.
pub(super) struct Line<T> {
    waiting: BTreeMap<Ticket, T>,
    counts: [usize; Urgency::ALL.len()],
    last: u64,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), counts: [0; Urgency::ALL.len()], last: 0 }
    }
}

impl<T> Line<T> {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How many of an urgency wait.
    pub(super) fn waiting(&self, urgency: Urgency) -> usize {
        self.counts[urgency as usize]
    }

    /// How many would have their turn before one who comes now.
    pub(super) fn ahead_of(&self, urgency: Urgency) -> usize {
        self.counts[..=urgency as usize].iter().sum()
    }

    /// Joins a line that is to be no longer than `most`; also tells who had to leave for that.
    pub(super) fn join(&mut self, urgency: Urgency, most: usize, call: T) -> Option<(Ticket, Option<T>)> {
        let displaced = if self.waiting.len() < most { None } else { Some(self.displace(urgency)?) };
        self.last += 1;
        let ticket = (urgency, self.last);
        self.waiting.insert(ticket, call);
        self.counts[urgency as usize] += 1;
        Some((ticket, displaced))
    }

    /// Whose turn it is.
    pub(super) fn next(&mut self) -> Option<T> {
        let (&ticket, _) = self.waiting.first_key_value()?;
        self.leave(ticket)
    }

    /// Leaves the line; nothing if it had its turn.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<T> {
        let call = self.waiting.remove(&ticket)?;
        self.counts[ticket.0 as usize] -= 1;
        Some(call)
    }

    fn displace(&mut self, urgency: Urgency) -> Option<T> {
        let (&last, _) = self.waiting.last_key_value()?;
        (last.0 > urgency).then(|| self.leave(last)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Urgency::{High, Low, Normal};
    use proptest::prelude::*;

    #[test]
    fn the_urgent_go_first_and_otherwise_who_came_first() {
        let mut line = Line::default();
        for (urgency, name) in [(Low, "a"), (Normal, "b"), (High, "c"), (Normal, "d"), (High, "e")] {
            assert!(line.join(urgency, 9, name).is_some_and(|(_, displaced)| displaced.is_none()));
        }
        assert_eq!([High, Normal, Low].map(|urgency| line.ahead_of(urgency)), [2, 4, 5]);
        let served: Vec<_> = std::iter::from_fn(|| line.next()).collect();
        assert_eq!(served, ["c", "e", "b", "d", "a"]);
    }

    #[test]
    fn a_full_line_takes_only_who_is_more_urgent_than_the_last() {
        let mut line = Line::default();
        let (ticket, _) = line.join(Normal, 2, "a").unwrap();
        line.join(Low, 2, "b").unwrap();
        assert!(line.join(Low, 2, "c").is_none());
        assert_eq!(line.join(High, 2, "d").unwrap().1, Some("b"));
        assert!(line.join(Normal, 2, "e").is_none());
        assert!(line.join(Normal, 0, "f").is_none(), "no line at all");
        assert_eq!((line.leave(ticket), line.leave(ticket)), (Some("a"), None));
        assert_eq!((line.len(), line.ahead_of(Low)), (1, 1));
    }

    proptest! {
        /// Whoever joined is served, displaced or has left, once.
        #[test]
        fn nobody_is_lost(steps in prop::collection::vec((0_usize..5, 0_usize..6), 0..200)) {
            let (mut line, mut here, mut gone, mut joined) = (Line::default(), Vec::new(), 0_usize, 0_usize);
            for (index, (what, most)) in steps.into_iter().enumerate() {
                match what {
                    0..3 => if let Some((ticket, displaced)) = line.join(Urgency::ALL[what], most, index) {
                        here.push(ticket);
                        joined += 1;
                        gone += usize::from(displaced.is_some());
                    },
                    3 => gone += usize::from(line.next().is_some()),
                    _ => gone += usize::from(here.pop().is_some_and(|ticket| line.leave(ticket).is_some())),
                }
                prop_assert_eq!(line.ahead_of(Low), line.len());
            }
            prop_assert_eq!(joined, line.len() + gone);
        }
    }
}
