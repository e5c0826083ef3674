//! Tokens that were taken for a request before anybody knew how many it needs: what it did not use comes back, what it used beyond is owed.

use super::claims::{Claim, settlements};
use super::shared::AskedStore;
use super::{Limiter, milliseconds};
use std::sync::Arc;
use std::time::SystemTime;

/// Where it was taken, and when by the clock there, milliseconds since 1970.
pub(super) enum Place {
    Here(u64),
    Store(Arc<AskedStore>, u64),
}

/// What became of a reservation.
enum Use {
    /// Nobody was asked.
    None,
    /// It is not known how much, and what was taken stays taken.
    Unknown,
    /// So many tokens.
    Of(u64),
}

/// What was taken. It is settled when it goes, whichever way the request ends: one that nothing is noted of used none.
pub struct Reservation {
    limiter: Arc<Limiter>,
    claims: Vec<Claim>,
    place: Place,
    used: Use,
}

impl Reservation {
    pub(super) fn new(limiter: Arc<Limiter>, claims: Vec<Claim>, place: Place) -> Self {
        Self { limiter, claims, place, used: Use::None }
    }

    /// How many tokens were used.
    pub fn note(&mut self, used: u64) {
        self.used = Use::Of(used);
    }

    /// Some were used, and nobody may ever say how many.
    pub fn note_unknown(&mut self) {
        self.used = Use::Unknown;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let Self { limiter, claims, place, used } = self;
        let used = match used {
            Use::None => 0,
            Use::Unknown => return,
            Use::Of(used) => *used,
        };
        match place {
            Place::Here(taken_at_ms) => {
                let settlements = settlements(claims, |limit| limit.part, used);
                limiter.memory.settle(milliseconds(SystemTime::now()), *taken_at_ms, &settlements);
            }
            Place::Store(store, taken_at_ms) => {
                // Outside a runtime the process is about to end.
                let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
                let (store, taken_at_ms) = (Arc::clone(store), *taken_at_ms);
                let claims = std::mem::take(claims);
                let unsettled = limiter.metrics.limits.unsettled.clone();
                let settling = async move {
                    if !store.settle(claims, taken_at_ms, used).await {
                        unsettled.inc();
                    }
                };
                limiter.settling.spawn_on(settling, &runtime);
            }
        }
    }
}
