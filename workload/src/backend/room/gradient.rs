//! How many requests a backend is sent at once where that is not given: as many as it begins to answer nearly as soon as it does without load. While it
//! does, there are more; when answers begin later, fewer. How soon that is without load is measured whenever there are few. Pure.

use std::time::Duration;

/// Answers of which the median is judged: one alone says little, for how long a prompt is matters too.
const SAMPLES: usize = 20;
/// How many there are at first, unless fewer are allowed.
const AT_FIRST: f64 = 16.0;
/// Never fewer. So many are no load.
const FEWEST: f64 = 2.0;
/// How much one answer without load moves the average of them.
const AVERAGED: f64 = 0.125;
/// As many times longer than without load answers may take to begin.
const TOLERATED: f64 = 1.5;
/// The most by which one median lowers the number, before it is smoothed.
const STEEPEST: f64 = 0.5;
/// How much of a change is made at once.
const SMOOTHED: f64 = 0.2;
/// What is left when a backend asks for patience or does not answer in time.
const AFTER_TROUBLE: f64 = 0.9;

/// One backend's.
pub(super) struct Gradient {
    limit: f64,
    /// How soon answers begin without load, microseconds.
    usual_us: Option<f64>,
    samples: Vec<u64>,
    /// Most requests at once while they were taken.
    busiest: u32,
}

impl Default for Gradient {
    fn default() -> Self {
        Self { limit: AT_FIRST, usual_us: None, samples: Vec::with_capacity(SAMPLES), busiest: 0 }
    }
}

impl Gradient {
    /// How many requests it may have at once.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between two and what a policy allows"
    )]
    pub(super) fn limit(&self, most: u32) -> u32 {
        (self.limit.max(FEWEST) as u32).min(most)
    }

    /// An answer began after so long, while there were so many requests.
    pub(super) fn answered(&mut self, after: Duration, in_flight: u32, most: u32) {
        let after_us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX).max(1);
        self.samples.push(after_us);
        self.busiest = self.busiest.max(in_flight);
        if f64::from(in_flight) <= FEWEST {
            let usual_us = self.usual_us.get_or_insert(after_us as f64);
            *usual_us += (after_us as f64 - *usual_us) * AVERAGED;
        }
        if self.samples.len() >= SAMPLES {
            let median = *self.samples.select_nth_unstable(SAMPLES / 2).1;
            self.judge(median as f64, most);
            self.samples.clear();
            self.busiest = 0;
        }
    }

    /// The backend asked for patience, or did not answer in time.
    pub(super) fn in_trouble(&mut self) {
        self.limit = (self.limit * AFTER_TROUBLE).max(FEWEST);
        self.samples.clear();
    }

    fn judge(&mut self, median_us: f64, most: u32) {
        // That others ask the same backend may have made it slow when there were few of ours.
        let usual_us = self.usual_us.map_or(median_us, |usual| usual.min(median_us));
        self.usual_us = Some(usual_us);
        let gradient = (usual_us * TOLERATED / median_us).clamp(STEEPEST, 1.0);
        if gradient >= 1.0 && f64::from(self.busiest) < self.limit / 2.0 {
            // More would not be used.
            return;
        }
        let headroom = if gradient >= 1.0 { self.limit.sqrt() } else { 0.0 };
        let aim = self.limit * gradient + headroom;
        let next = self.limit + (aim - self.limit) * SMOOTHED;
        self.limit = next.clamp(FEWEST, f64::from(most).max(FEWEST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u32 = 1_000;

    /// A backend that answers after so many milliseconds up to so many requests at once, and in proportion more slowly beyond that.
    struct Server {
        usual_ms: u32,
        capacity: u32,
    }

    impl Server {
        /// Sends it more and more requests, up to as many as there may be.
        fn saturate(&self, gradient: &mut Gradient, rounds: u32) {
            for round in 0..rounds {
                let in_flight = gradient.limit(MOST).min(round + 1);
                let after = self.usual_ms * in_flight.max(self.capacity) / self.capacity;
                gradient.answered(Duration::from_millis(after.into()), in_flight, MOST);
            }
        }
    }

    #[test]
    fn it_finds_about_as_many_as_a_backend_can_do_from_below_and_from_above() {
        for capacity in [3, 8, 64, 400] {
            let mut gradient = Gradient::default();
            Server { usual_ms: 200, capacity }.saturate(&mut gradient, 40_000);
            let found = gradient.limit(MOST);
            assert!((capacity..=capacity * 2).contains(&found), "{found} for {capacity}");
        }
    }

    #[test]
    fn when_a_backend_becomes_slower_as_a_whole_that_is_what_is_usual_then() {
        let mut gradient = Gradient::default();
        Server { usual_ms: 50, capacity: 30 }.saturate(&mut gradient, 20_000);
        Server { usual_ms: 400, capacity: 30 }.saturate(&mut gradient, 40_000);
        assert!((30..=60).contains(&gradient.limit(MOST)), "{}", gradient.limit(MOST));
    }

    #[test]
    fn there_are_no_more_than_are_used_or_allowed_and_never_too_few() {
        let mut gradient = Gradient::default();
        for _ in 0..10_000 {
            gradient.answered(Duration::from_millis(100), 3, MOST);
        }
        assert_eq!((gradient.limit(MOST), gradient.limit(5)), (16, 5));
        for _ in 0..1_000 {
            gradient.in_trouble();
        }
        assert_eq!((gradient.limit(MOST), gradient.limit(1)), (2, 1));
    }
}
