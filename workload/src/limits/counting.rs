//! How one counter counts, in whole numbers: the same in memory and, line for line, in the store's script (`counting.lua`). Pure: time, in
//! milliseconds since 1970, comes in.
//!
//! What is used beyond a limit is owed, and paid off at the limit's rate: a bucket goes below zero, and what a window counts beyond its
//! limit counts in the next one.

use codecrucible_contract::{Algorithm, Limit, MOST_OWED};

/// Windows up to this length are counted in milliseconds, longer ones in seconds: so all products stay whole numbers in floating point.
const LONGEST_FINE_WINDOW_MS: u64 = 3_600_000;
/// What a second is in milliseconds.
const SECOND_MS: u64 = 1_000;
/// The largest part of all there is that one request takes before it is known what it uses. What it uses beyond is owed.
const LARGEST_RESERVATION: u64 = 4;

/// A limit as a counter knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// How it counts.
    pub(super) algorithm: Algorithm,
    /// How many within the window.
    pub(super) limit: u64,
    /// The window, ticks.
    pub(super) window: u64,
    /// How many at once.
    pub(super) burst: u64,
    /// A tick, milliseconds.
    pub(super) tick_ms: u64,
}

/// What was counted for one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counter {
    /// A bucket.
    Bucket {
        /// What is in it, in parts: as many to one of the unit as the window has ticks, so that each tick brings a whole number of them.
        level: i64,
        /// When that was so, ticks since 1970.
        at: u64,
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
    pub(super) remaining: u64,
    /// Until it could have all of them, if it asked for nothing, milliseconds.
    pub(super) reset_ms: u64,
    /// Until what it asked for could be had, milliseconds; 0 if it can.
    pub(super) retry_ms: u64,
}

impl Standing {
    /// Whether what was asked for can be had.
    pub(super) const fn is_admitted(&self) -> bool {
        self.retry_ms == 0
    }

    fn of_ticks(remaining: u64, reset: u64, retry: u64, rule: &Rule) -> Self {
        Self { remaining, reset_ms: reset * rule.tick_ms, retry_ms: retry * rule.tick_ms }
    }
}

impl Rule {
    /// That of a limit, of which only one of so many parts counts.
    pub(super) fn part(limit: &Limit, shares: u16) -> Self {
        let part = |whole: u64| (whole / u64::from(shares.max(1))).max(1);
        let Limit { algorithm, window_ms, .. } = *limit;
        let tick_ms = if window_ms <= LONGEST_FINE_WINDOW_MS { 1 } else { SECOND_MS };
        let window = window_ms.div_ceil(tick_ms);
        Self { algorithm, limit: part(limit.limit), window, burst: part(limit.burst), tick_ms }
    }

    /// The most that can be had at once.
    pub(super) const fn capacity(&self) -> u64 {
        match self.algorithm {
            Algorithm::TokenBucket => self.burst,
            Algorithm::SlidingWindow | Algorithm::FixedWindow => self.limit,
        }
    }

    /// What is taken for a request that may need so many: no more than a part of all there is, so that none has to wait for all of it, and
    /// none holds all of it.
    pub(super) fn cost(&self, wanted: u64) -> u64 {
        wanted.min((self.capacity() / LARGEST_RESERVATION).max(1))
    }

    /// A full bucket, in parts.
    fn full(&self) -> i64 {
        parts(self.burst, self.window)
    }

    fn ticks(&self, ms: u64) -> u64 {
        ms / self.tick_ms
    }

    fn window_at(&self, now_ms: u64) -> u64 {
        self.ticks(now_ms) / self.window
    }
}

impl Counter {
    /// Nothing was counted yet.
    pub(super) fn new(rule: &Rule, now_ms: u64) -> Self {
        match rule.algorithm {
            Algorithm::TokenBucket => Self::Bucket { level: rule.full(), at: rule.ticks(now_ms) },
            _ => Self::Windows { index: rule.window_at(now_ms), current: 0, previous: 0 },
        }
    }

    /// As it is at a later time. A clock that goes back gives nothing, and one that was far ahead is not waited for.
    pub(super) fn at(self, rule: &Rule, now_ms: u64) -> Self {
        match self {
            Self::Bucket { level, at } => {
                let now = rule.ticks(now_ms);
                let came = parts(rule.limit, now.saturating_sub(at));
                let (full, most_owed) = (rule.full(), -most_owed(rule.full()));
                let is_far_ahead = at > now + rule.window;
                Self::Bucket {
                    level: level.saturating_add(came).clamp(most_owed, full),
                    at: if is_far_ahead { now } else { at.max(now) },
                }
            }
            Self::Windows { index, current, previous } => {
                let now = rule.window_at(now_ms);
                if index > now + 1 {
                    return Self::Windows { index: now, current, previous };
                }
                let passed = now.saturating_sub(index);
                if passed == 0 {
                    return self;
                }
                let owed_after = |windows: u64| current.saturating_sub(windows.saturating_mul(rule.limit));
                Self::Windows {
                    index: now,
                    current: owed_after(passed),
                    previous: owed_after(passed - 1).min(rule.limit),
                }
            }
        }
    }

    /// How one who asks for so much now stands; it has been brought to the time before.
    pub(super) fn standing(&self, rule: &Rule, now_ms: u64, cost: u64) -> Standing {
        match *self {
            Self::Bucket { level, .. } => {
                let lacking = parts(cost, rule.window) - level;
                let filled_after =
                    |missing: i64| u64::try_from(missing).map_or(0, |m| m.div_ceil(rule.limit));
                let remaining = u64::try_from(level).unwrap_or(0) / rule.window;
                Standing::of_ticks(remaining, filled_after(rule.full() - level), filled_after(lacking), rule)
            }
            Self::Windows { index, current, previous } => {
                let elapsed = rule.ticks(now_ms).saturating_sub(index * rule.window).min(rule.window);
                match rule.algorithm {
                    Algorithm::FixedWindow => fixed(rule, current, rule.window - elapsed, cost),
                    _ => sliding(rule, current, previous, elapsed, cost),
                }
            }
        }
    }

    /// Takes what was found to be there.
    pub(super) fn take(&mut self, rule: &Rule, cost: u64) {
        match self {
            Self::Bucket { level, .. } => *level -= parts(cost, rule.window),
            Self::Windows { current, .. } => *current += cost,
        }
    }

    /// Corrects what was taken at a time by what was used beyond it, as the counter was left last. What comes back belongs to the window in which
    /// it was taken, and is lost when that counts no more; what is owed, to the last one. The limit may be another one by now, under which more was
    /// counted: nothing of that is lost.
    pub(super) fn settle(&mut self, rule: &Rule, taken_at_ms: u64, beyond: i64) {
        match self {
            Self::Bucket { level, .. } => {
                // How full it may be is for who reads it next to say.
                let most_owed = (-most_owed(rule.full())).min(*level);
                let change = beyond.saturating_mul(i64::try_from(rule.window).unwrap_or(i64::MAX));
                *level = level.saturating_sub(change).max(most_owed);
            }
            Self::Windows { index, current, previous } => {
                let corrected =
                    |count: u64| count.saturating_add_signed(beyond).min((MOST_OWED * rule.limit).max(count));
                match index.saturating_sub(rule.window_at(taken_at_ms)) {
                    passed if passed == 0 || beyond > 0 => *current = corrected(*current),
                    1 => *previous = corrected(*previous),
                    _ => {}
                }
            }
        }
    }
}

/// A quantity in the parts of a bucket, or what so many ticks bring at a limit.
fn parts(quantity: u64, ticks: u64) -> i64 {
    i64::try_from(quantity.saturating_mul(ticks)).unwrap_or(i64::MAX)
}

fn most_owed(full: i64) -> i64 {
    full.saturating_mul(i64::try_from(MOST_OWED).unwrap_or(i64::MAX))
}

/// Until a window's debt is paid off, windows.
fn windows_owed(current: u64, limit: u64) -> u64 {
    current.saturating_sub(1) / limit
}

fn fixed(rule: &Rule, current: u64, rest: u64, cost: u64) -> Standing {
    let Rule { limit, window, .. } = *rule;
    let remaining = limit.saturating_sub(current);
    let reset = if current == 0 { 0 } else { rest + windows_owed(current, limit) * window };
    let retry =
        if cost <= remaining { 0 } else { rest + windows_owed(current + cost - limit, limit) * window };
    Standing::of_ticks(remaining, reset, retry, rule)
}

/// Of the window before counts what is still within one window's length from now, as if it had been spread evenly.
fn sliding(rule: &Rule, current: u64, previous: u64, elapsed: u64, cost: u64) -> Standing {
    let Rule { limit, window, .. } = *rule;
    let rest = window - elapsed;
    let used = previous * rest + current * window;
    let free = (limit * window).saturating_sub(used);
    let reset = match (current, previous) {
        (0, 0) => 0,
        (0, _) => rest,
        _ => rest + window + windows_owed(current, limit) * window,
    };
    let retry = if cost * window <= free {
        0
    } else if let Some(room) = limit.checked_sub(current + cost) {
        // Later in this window, when less of the one before counts.
        (rest - room * window / previous).max(1)
    } else {
        // In a later one. What is owed then is left of this one, and the one before counts in part.
        let skipped = windows_owed(current + cost - limit, limit);
        let before = (current - skipped * limit).min(limit);
        let owed = current.saturating_sub((skipped + 1) * limit);
        let room = limit.saturating_sub(owed + cost);
        rest + skipped * window + (window - (room * window / before).min(window))
    };
    Standing::of_ticks(free / window, reset, retry, rule)
}
