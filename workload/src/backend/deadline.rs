//! When a request must have come how far. The whole is counted from the request's start, however many attempts it takes; the rest from
//! each attempt's.

use codecrucible_contract::Timeouts;
use std::time::Duration;
use tokio::time::Instant;

/// The limits of one request.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    first_byte: Instant,
    idle: Duration,
    end: Instant,
}

impl Deadline {
    /// The limits of an attempt that starts now, for a request that began then.
    pub fn of(timeouts: Timeouts, began: Instant, now: Instant) -> Self {
        let Timeouts { connect_ms: _, first_byte_ms, idle_ms, total_ms } = timeouts;
        let end = began + Duration::from_millis(total_ms);
        Self {
            first_byte: end.min(now + Duration::from_millis(first_byte_ms)),
            idle: Duration::from_millis(idle_ms),
            end,
        }
    }

    /// The limits of a request that starts now.
    #[cfg(test)]
    pub(crate) fn starting_now(timeouts: Timeouts) -> Self {
        let now = Instant::now();
        Self::of(timeouts, now, now)
    }

    /// Until when the answer must begin.
    pub fn first_byte(&self) -> Instant {
        self.first_byte
    }

    /// Until when the next piece must come, after one that came at `last`.
    pub fn next_after(&self, last: Instant) -> Instant {
        self.end.min(last + self.idle)
    }

    /// Until when the answer must be whole.
    pub fn end(&self) -> Instant {
        self.end
    }
}
