//! Whether a text ends in what may become a secret once more of it has come.
//!
//! An automaton of all patterns is begun at a place and fed with the rest of the text: as long as it is not dead, more may make it match.

use super::patterns::MAX_SECRET_BYTES;
use super::strings::Units;
use codecrucible_contract as contract;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::util::pool::Pool;
use regex_automata::{Anchored, Input};
use std::ops::Range;

/// Most steps of the automaton for one look, bytes: patterns can be such that each place is followed far. Beyond, a place counts as one that goes on.
const MAX_STEPS: usize = 64 * MAX_SECRET_BYTES;

type NewCache = Box<dyn Fn() -> Cache + Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>;

/// The automaton, and what threads need to use it.
pub(super) struct Unfinished {
    dfa: DFA,
    caches: Pool<Cache, NewCache>,
}

impl Unfinished {
    /// Nothing where a pattern is wrong, which was checked before.
    pub(super) fn new(policy: &contract::Redaction) -> Option<Self> {
        let dfa = policy.automaton().ok()?;
        let of = dfa.clone();
        Some(Self { dfa, caches: Pool::new(Box::new(move || of.create_cache())) })
    }

    /// The first place of some where what begins there goes on behind the end of the text, and is not longer than a secret may be.
    /// The first of the places has to be one where a character or an escape begins.
    pub(super) fn first(&self, text: &[u8], places: Range<usize>) -> Option<usize> {
        let (mut cache, mut steps) = (self.caches.get(), 0);
        let mut units = Units::from(text, places.start);
        let nearest = text.len().saturating_sub(MAX_SECRET_BYTES).max(places.start);
        (nearest..places.end).find(|place| {
            units.begin_at(*place)
                && (steps > MAX_STEPS || self.goes_on(&mut cache, text, *place, &mut steps))
        })
    }

    fn goes_on(&self, cache: &mut Cache, text: &[u8], from: usize, steps: &mut usize) -> bool {
        let input = Input::new(text).range(from..).anchored(Anchored::Yes);
        let Ok(mut state) = self.dfa.start_state_forward(cache, &input) else { return false };
        for byte in &text[from..] {
            *steps += 1;
            match self.dfa.next_state(cache, state, *byte) {
                Ok(next) if !next.is_dead() && !next.is_quit() => state = next,
                _ => return false,
            }
        }
        true
    }
}
