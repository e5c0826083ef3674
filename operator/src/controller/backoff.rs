//! How long to wait after a failed reconcile: exponential for each object, with jitter, 1 s to 5 min.

use std::time::Duration;

/// Wait after the first failure, seconds.
const FIRST_SECONDS: u64 = 1;
/// Longest wait, seconds.
const LONGEST_SECONDS: u64 = 300;

/// The wait after so many failures in a row. `jitter` is random, 0 to 255: it shortens the wait by up to
/// a half, so that objects that failed together do not come back together.
pub(super) fn wait_after(failures: u32, jitter: u8) -> Duration {
    let exponent = failures.saturating_sub(1).min(16);
    let whole_ms = FIRST_SECONDS.saturating_mul(1 << exponent).min(LONGEST_SECONDS) * 1_000;
    Duration::from_millis(whole_ms - whole_ms * u64::from(jitter) / 512)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let seconds: Vec<u64> = (1..=11).map(|failures| wait_after(failures, 0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(wait_after(u32::MAX, 0).as_secs(), 300);
    }

    #[test]
    fn jitter_shortens_by_at_most_a_half() {
        assert!(wait_after(3, 255) > Duration::from_secs(2));
        assert!(wait_after(3, 255) < wait_after(3, 100));
    }
}
