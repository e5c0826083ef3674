//! How one counter counts, in whole numbers: the same in memory and, line for line, in the store's script (`counting.lua`). Pure: time, in
//! milliseconds since 1970, comes in.

use codecrucible_contract::{Algorithm, Limit};

/// A limit as a counter knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// How it counts.
    pub algorithm: Algorithm,
    /// How many within the window.
    pub limit: u64,
    /// The window, milliseconds.
    pub window_ms: u64,
    /// How many at once.
    pub burst: u64,
}

/// What was counted for one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counter {
    /// A bucket.
    Bucket {
        /// What is in it, in parts: as many to one of the unit as the window has milliseconds, so that each millisecond brings a whole
        /// number of them. Below zero where more was used than was taken.
        level: i64,
        /// When that was so.
        at_ms: u64,
    },
    /// The current window, and for a sliding one the one before.
    Windows {
        /// Windows since 1970.
        index: u64,
        /// Counted in it.
        current: u64,
        /// Counted in the one before.
        previous: u64,
    },
}

/// How a subject stands with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// How many it could still have at once.
    pub remaining: u64,
    /// Until it could have all of them, if it asked for nothing, milliseconds.
    pub reset_ms: u64,
    /// Until what it asked for could be had, milliseconds; 0 if it can.
    pub retry_ms: u64,
}

impl Standing {
    /// Whether what was asked for can be had.
    pub const fn is_admitted(&self) -> bool {
        self.retry_ms == 0
    }
}

impl Rule {
    /// That of a limit, of which only one of so many parts counts.
    pub fn part(limit: &Limit, shares: u16) -> Self {
        let part = |whole: u64| (whole / u64::from(shares.max(1))).max(1);
        let Limit { algorithm, window_ms, .. } = *limit;
        Self { algorithm, limit: part(limit.limit), window_ms, burst: part(limit.burst) }
    }

    /// The most that can be had at once.
    pub const fn capacity(&self) -> u64 {
        match self.algorithm {
            Algorithm::TokenBucket => self.burst,
            Algorithm::SlidingWindow | Algorithm::FixedWindow => self.limit,
        }
    }

    /// What is taken for a request: one that may need more than there ever is waits for all there is.
    pub fn cost(&self, wanted: u64) -> u64 {
        wanted.min(self.capacity())
    }

    /// A full bucket, in parts.
    fn full(&self) -> i64 {
        parts(self.burst, self.window_ms)
    }

    fn window_at(&self, now_ms: u64) -> u64 {
        now_ms / self.window_ms
    }

    /// How much of the current window is over.
    fn elapsed(&self, now_ms: u64, index: u64) -> u64 {
        now_ms.saturating_sub(index * self.window_ms).min(self.window_ms)
    }
}

impl Counter {
    /// Nothing was counted yet.
    pub fn new(rule: &Rule, now_ms: u64) -> Self {
        match rule.algorithm {
            Algorithm::TokenBucket => Self::Bucket { level: rule.full(), at_ms: now_ms },
            _ => Self::Windows { index: rule.window_at(now_ms), current: 0, previous: 0 },
        }
    }

    /// As it is at a later time. A clock that goes back changes nothing.
    pub fn at(self, rule: &Rule, now_ms: u64) -> Self {
        match self {
            Self::Bucket { level, at_ms } => {
                let came = parts(rule.limit, now_ms.saturating_sub(at_ms));
                Self::Bucket { level: level.saturating_add(came).min(rule.full()), at_ms: at_ms.max(now_ms) }
            }
            Self::Windows { index, current, previous } => {
                match rule.window_at(now_ms).saturating_sub(index) {
                    0 => Self::Windows { index, current, previous },
                    1 => Self::Windows { index: index + 1, current: 0, previous: current },
                    _ => Self::new(rule, now_ms),
                }
            }
        }
    }

    /// How one who asks for so much now stands; it has been brought to the time before.
    pub fn standing(&self, rule: &Rule, now_ms: u64, cost: u64) -> Standing {
        match *self {
            Self::Bucket { level, .. } => {
                let lacking = parts(cost, rule.window_ms) - level;
                let filled_after =
                    |missing: i64| u64::try_from(missing).map_or(0, |m| m.div_ceil(rule.limit));
                Standing {
                    remaining: u64::try_from(level).unwrap_or(0) / rule.window_ms,
                    reset_ms: filled_after(rule.full() - level),
                    retry_ms: filled_after(lacking),
                }
            }
            Self::Windows { index, current, previous } => {
                let elapsed = rule.elapsed(now_ms, index);
                let rest = rule.window_ms - elapsed;
                match rule.algorithm {
                    Algorithm::FixedWindow => fixed(rule, current, rest, cost),
                    _ => sliding(rule, current, previous, elapsed, cost),
                }
            }
        }
    }

    /// Takes what was found to be there.
    pub fn take(&mut self, rule: &Rule, cost: u64) {
        match self {
            Self::Bucket { level, .. } => *level -= parts(cost, rule.window_ms),
            Self::Windows { current, .. } => *current += cost,
        }
    }

    /// Corrects what was taken at a time by what was used beyond it. What comes back belongs to the window in which it was taken, and is lost
    /// when that counts no more; what is owed, to the current one. No debt is larger than all that there ever is.
    pub fn settle(&mut self, rule: &Rule, taken_at_ms: u64, beyond: i64) {
        match self {
            Self::Bucket { level, .. } => {
                let full = rule.full();
                let change = beyond.saturating_mul(i64::try_from(rule.window_ms).unwrap_or(i64::MAX));
                *level = level.saturating_sub(change).clamp(-full, full);
            }
            Self::Windows { index, current, previous } => {
                let corrected = |count: u64| count.saturating_add_signed(beyond).min(2 * rule.limit);
                match index.saturating_sub(rule.window_at(taken_at_ms)) {
                    passed if passed == 0 || beyond > 0 => *current = corrected(*current),
                    1 => *previous = corrected(*previous),
                    _ => {}
                }
            }
        }
    }
}

/// A quantity in the parts of a bucket, or what so many milliseconds bring at a limit.
fn parts(quantity: u64, milliseconds: u64) -> i64 {
    i64::try_from(quantity.saturating_mul(milliseconds)).unwrap_or(i64::MAX)
}

fn fixed(rule: &Rule, current: u64, rest_ms: u64, cost: u64) -> Standing {
    let remaining = rule.limit.saturating_sub(current);
    Standing {
        remaining,
        reset_ms: if current == 0 { 0 } else { rest_ms },
        retry_ms: if cost <= remaining { 0 } else { rest_ms },
    }
}

/// Of the window before counts what is still within one window's length from now, as if it had been spread evenly.
fn sliding(rule: &Rule, current: u64, previous: u64, elapsed_ms: u64, cost: u64) -> Standing {
    let Rule { limit, window_ms, .. } = *rule;
    let rest_ms = window_ms - elapsed_ms;
    let used = previous * rest_ms + current * window_ms;
    let free = (limit * window_ms).saturating_sub(used);
    let reset_ms = match (current, previous) {
        (0, 0) => 0,
        (0, _) => rest_ms,
        _ => rest_ms + window_ms,
    };
    let retry_ms = if cost * window_ms <= free {
        0
    } else if let Some(room) = limit.checked_sub(current + cost) {
        // Later in this window, when less of the one before counts.
        rest_ms - room * window_ms / previous
    } else {
        // In the next one, in which this one is the one before. Whatever is asked for is no more than the limit.
        rest_ms + (window_ms - ((limit - cost) * window_ms / current).min(window_ms))
    };
    Standing {
        remaining: free / window_ms,
        reset_ms,
        retry_ms: retry_ms.max(u64::from(cost * window_ms > free)),
    }
}
