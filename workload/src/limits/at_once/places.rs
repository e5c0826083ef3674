//! Places of one replica, in memory: as many as there are requests under way.

use super::super::claims::Claim;
use super::super::counting::Standing;
use super::{Held, asks, decide};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many requests are under way, by the limit and whose they are.
#[derive(Default)]
pub(in super::super) struct Places(Mutex<HashMap<String, u64>>);

/// Places that were taken.
pub(super) struct Taken {
    places: Arc<Places>,
    keys: Vec<String>,
}

impl Places {
    /// Takes one from each that has one, or from none where one that counts has none; tells how each stands.
    pub(in super::super) fn take(self: &Arc<Self>, claims: &[Claim]) -> (Vec<Standing>, Option<Held>) {
        let mut counts = self.counts();
        let under_way: Vec<_> =
            claims.iter().map(|claim| counts.get(&claim.key).copied().unwrap_or_default()).collect();
        let (standings, is_taken) = decide(&asks(claims, true), &under_way);
        if !is_taken {
            return (standings, None);
        }
        let admitting = claims.iter().zip(&standings).filter(|(_, standing)| standing.is_admitted());
        let keys: Vec<_> = admitting.map(|(claim, _)| claim.key.clone()).collect();
        for key in &keys {
            *counts.entry(key.clone()).or_default() += 1;
        }
        drop(counts);
        (standings, Some(Held::new(Taken { places: Arc::clone(self), keys })))
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut counts = self.places.counts();
        for key in &self.keys {
            if let Some(count) = counts.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(key);
                }
            }
        }
    }
}
