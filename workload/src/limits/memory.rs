//! Counters of one replica, in memory: as many as there is room for, of which the ones that were asked for last are kept.

use super::claims::{Settlement, Take};
use super::counting::{Counter, Standing};
use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, PoisonError};

/// Most counters of one limit. Whoever makes up subjects for one drives out no counter of another.
const MAX_COUNTERS_PER_LIMIT: usize = 16_384;

/// The counters.
#[derive(Default)]
pub(super) struct Memory {
    limits: Mutex<HashMap<String, Generations>>,
}

/// Counters in two halves: what is asked for moves to the young one, and when that is full, it is the old one, and what was in the old one is
/// forgotten. So room is bounded, and who asks again and again is never forgotten.
#[derive(Default)]
struct Generations {
    young: HashMap<String, Counter>,
    old: HashMap<String, Counter>,
}

impl Memory {
    /// Takes from all or from none, and tells how each stands.
    pub(super) fn take(&self, now_ms: u64, takes: &[Take<'_>]) -> Vec<Standing> {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::with_capacity(takes.len());
        for take in takes {
            let counter = limits.get(take.limit).and_then(|counters| counters.get(take.key));
            let counter =
                counter.map_or_else(|| Counter::new(&take.rule, now_ms), |c| c.at(&take.rule, now_ms));
            found.push((counter, counter.standing(&take.rule, now_ms, take.cost)));
        }
        let is_refused =
            |(take, (_, standing)): (&Take<'_>, &(_, Standing))| !take.is_shadow && !standing.is_admitted();
        if takes.iter().zip(&found).any(is_refused) {
            return found.into_iter().map(|(_, standing)| standing).collect();
        }
        let taken = takes.iter().zip(found).map(|(take, (mut counter, standing))| {
            if !standing.is_admitted() {
                return standing;
            }
            counter.take(&take.rule, take.cost);
            if !limits.contains_key(take.limit) {
                limits.insert(take.limit.to_owned(), Generations::default());
            }
            if let Some(counters) = limits.get_mut(take.limit) {
                counters.put(take.key, counter);
            }
            counter.standing(&take.rule, now_ms, 0)
        });
        taken.collect()
    }

    /// Corrects what was taken at a time. A counter that is forgotten is as good as new: nothing comes back to it, and what is owed is.
    pub(super) fn settle(&self, now_ms: u64, taken_at_ms: u64, settlements: &[Settlement<'_>]) {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        for Settlement { limit, key, rule, beyond } in settlements {
            let Some(counters) = limits.get_mut(*limit) else { continue };
            let owes = || (*beyond > 0).then(|| Counter::new(rule, now_ms));
            let Some(mut counter) = counters.get(key).or_else(owes) else { continue };
            counter.settle(rule, taken_at_ms, *beyond);
            counters.put(key, counter);
        }
    }

    /// Forgets the counters of limits that are no more.
    pub(super) fn keep(&self, is_there: impl Fn(&str) -> bool) {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner).retain(|limit, _| is_there(limit));
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let limits = self.limits.lock().unwrap();
        limits.values().map(|counters| counters.young.len() + counters.old.len()).sum()
    }
}

impl Generations {
    fn get(&self, key: &str) -> Option<Counter> {
        self.young.get(key).or_else(|| self.old.get(key)).copied()
    }

    fn put(&mut self, key: &str, counter: Counter) {
        if let Some(kept) = self.young.get_mut(key) {
            *kept = counter;
            return;
        }
        if self.young.len() >= MAX_COUNTERS_PER_LIMIT / 2 {
            self.old = mem::take(&mut self.young);
        }
        self.old.remove(key);
        self.young.insert(key.to_owned(), counter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::counting::Rule;
    use codecrucible_contract::Algorithm;

    const ONE_A_MINUTE: Rule =
        Rule { algorithm: Algorithm::FixedWindow, limit: 1, window: 60_000, burst: 1, tick_ms: 1 };

    fn is_admitted(memory: &Memory, limit: &str, key: &str) -> bool {
        let take = Take { limit, key, rule: ONE_A_MINUTE, cost: 1, is_shadow: false };
        memory.take(0, &[take])[0].is_admitted()
    }

    #[test]
    fn a_million_subjects_take_bounded_room_and_drive_out_no_counter_of_another_limit() {
        let memory = Memory::default();
        assert!(is_admitted(&memory, "clients", "busy"));
        for number in 0..1_000_000 {
            assert!(is_admitted(&memory, "addresses", &number.to_string()));
        }
        assert!(memory.len() <= MAX_COUNTERS_PER_LIMIT + 1, "{}", memory.len());
        assert!(!is_admitted(&memory, "clients", "busy"));
    }

    #[test]
    fn who_takes_again_and_again_is_never_forgotten() {
        let memory = Memory::default();
        let hundred = Rule { limit: 100, burst: 100, ..ONE_A_MINUTE };
        for round in 0..100 {
            let take = Take { limit: "l", key: "busy", rule: hundred, cost: 1, is_shadow: false };
            assert!(memory.take(0, &[take])[0].is_admitted());
            for number in 0..1_000 {
                is_admitted(&memory, "l", &format!("{round} {number}"));
            }
        }
        let take = Take { limit: "l", key: "busy", rule: hundred, cost: 1, is_shadow: false };
        assert!(!memory.take(0, &[take])[0].is_admitted());
    }
}
