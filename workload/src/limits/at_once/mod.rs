//! How many requests of somebody may be under way at once. A place is taken from each limit that applies to a request, or from none, and given back when the request has
//! ended, whichever way. Replicas count together in the store, where each place is lent for a while and lent anew as long as its request lasts: those of a replica that is
//! gone come back by themselves. Without a store each has its part, in memory.

mod leases;
mod places;
#[cfg(test)]
mod semantics;

pub(super) use leases::{LEASE_MS, Leases, teach};
pub(super) use places::Places;

use super::claims::Claim;
use super::counting::Standing;

/// When whoever is refused should ask again: nobody knows when a request ends, milliseconds.
const RETRY_MS: u64 = 1_000;

/// Places that a request has taken. They are given back with the value.
#[must_use]
pub struct Held {
    _places: Box<dyn Send + Sync>,
}

impl Held {
    fn new(places: impl Send + Sync + 'static) -> Self {
        Self { _places: Box::new(places) }
    }
}

/// What is asked of one limit.
#[derive(Clone, Copy)]
struct Ask {
    most: u64,
    is_shadow: bool,
}

fn asks(claims: &[Claim], is_part: bool) -> Vec<Ask> {
    let ask = |Claim { limit, .. }: &Claim| {
        let rule = if is_part { &limit.part } else { &limit.whole };
        Ask { most: rule.limit, is_shadow: limit.is_shadow }
    };
    claims.iter().map(ask).collect()
}

/// How it stands where so many are under way, before one more is taken, or with it.
fn standing(ask: Ask, under_way: u64, is_taken: bool) -> Standing {
    let is_full = under_way >= ask.most;
    Standing {
        remaining: ask.most.saturating_sub(under_way + u64::from(is_taken && !is_full)),
        reset_ms: 0,
        retry_ms: if is_full { RETRY_MS } else { 0 },
    }
}

/// How all stand, and whether a place is taken wherever there is one.
fn decide(asks: &[Ask], under_way: &[u64]) -> (Vec<Standing>, bool) {
    let both = || asks.iter().zip(under_way);
    let is_taken = both().all(|(ask, count)| ask.is_shadow || *count < ask.most);
    (both().map(|(ask, count)| standing(*ask, *count, is_taken)).collect(), is_taken)
}
