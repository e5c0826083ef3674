//! Waiting for a condition, never for a time.

use anyhow::bail;
use std::time::{Duration, Instant};

/// Pause between two looks, milliseconds.
const PAUSE_MS: u64 = 100;

/// Looks until the condition holds. An error counts as "not yet"; the last one is told when time is over.
pub fn until(
    what: &str,
    limit: Duration,
    mut holds: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        let outcome = holds();
        if matches!(outcome, Ok(true)) {
            return Ok(());
        }
        if start.elapsed() > limit {
            let last = outcome.err().map_or_else(String::new, |error| format!(": {error:#}"));
            bail!("waited {} s for {what}{last}", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(PAUSE_MS));
    }
}
