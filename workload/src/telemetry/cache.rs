//! What was given again, and how much is kept.

use super::metrics::registered;
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// The metrics of kept answers.
pub struct CacheMetrics {
    /// Requests whose answers are kept, by rule and by where the answer came from.
    pub answers: IntCounterVec,
    kept: IntGauge,
    bytes: IntGauge,
}

impl CacheMetrics {
    pub(super) fn registered(registry: &Registry) -> prometheus::Result<Self> {
        let answers = IntCounterVec::new(
            Opts::new(
                "codecrucible_cache_answers_total",
                "Requests to which a rule of the cache applies: hit, collapsed into one that was under way, miss, or, as the client wants it, refreshed or absent.",
            ),
            &["rule", "outcome"],
        )?;
        let gauge =
            |name: &str, help: &str| registered(registry, IntGauge::with_opts(Opts::new(name, help))?);
        Ok(Self {
            kept: gauge("codecrucible_cache_kept_answers", "Answers that are kept in memory.")?,
            bytes: gauge("codecrucible_cache_kept_bytes", "What they take, bytes.")?,
            answers: registered(registry, answers)?,
        })
    }

    /// So much is kept.
    pub fn hold(&self, answers: u64, bytes: u64) {
        self.kept.set(i64::try_from(answers).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
