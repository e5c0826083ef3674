//! What was given again, and how much is kept.

use super::handles::Handles;
use super::metrics::registered;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// What is told apart of how long layers below memory take, seconds: they are near, and nobody waits for them long.
const BUCKETS: [f64; 8] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1];

/// Requests whose answers one rule keeps, by where the answer came from: there are four ways, and none.
pub type AnswerCounters = Handles<&'static str, 5>;

/// The metrics of kept answers.
pub struct CacheMetrics {
    answers: IntCounterVec,
    /// Looks below memory, by layer and whether something was found there or it did not answer, seconds.
    pub below_seconds: HistogramVec,
    /// Answers that were to be kept below memory, by layer and whether they were.
    pub written: IntCounterVec,
    /// Questions that the replica asked itself, by what became of them.
    pub warm_up: IntCounterVec,
    ready: IntGaugeVec,
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
        let below_seconds = HistogramVec::new(
            HistogramOpts::new(
                "codecrucible_cache_below_memory_seconds",
                "Looks for answers on the disk and in the Redis of the cache: hit, miss, or failed where that did not answer in time.",
            )
            .buckets(BUCKETS.to_vec()),
            &["layer", "outcome"],
        )?;
        let written = IntCounterVec::new(
            Opts::new(
                "codecrucible_cache_written_below_memory_total",
                "Answers that were to be kept on the disk or in the Redis of the cache: kept, or dropped because too much waits or it does not take them.",
            ),
            &["layer", "outcome"],
        )?;
        let warm_up = IntCounterVec::new(
            Opts::new(
                "codecrucible_cache_warm_up_total",
                "Questions of the cache's warm-up list: asked, kept already, unkept where the answer is none that is kept, refused, unknown_client, or failed, which are asked again.",
            ),
            &["outcome"],
        )?;
        let ready = IntGaugeVec::new(
            Opts::new(
                "codecrucible_cache_layer_ready",
                "1 while answers are kept there, 0 while it does not answer or could not be opened.",
            ),
            &["layer"],
        )?;
        let gauge =
            |name: &str, help: &str| registered(registry, IntGauge::with_opts(Opts::new(name, help))?);
        Ok(Self {
            kept: gauge("codecrucible_cache_kept_answers", "Answers that are kept in memory.")?,
            bytes: gauge("codecrucible_cache_kept_bytes", "What they take, bytes.")?,
            answers: registered(registry, answers)?,
            below_seconds: registered(registry, below_seconds)?,
            written: registered(registry, written)?,
            warm_up: registered(registry, warm_up)?,
            ready: registered(registry, ready)?,
        })
    }

    /// Notes where the answer to a request came from, whose rule has these counters.
    pub fn answered(&self, counters: &AnswerCounters, rule: &str, outcome: &'static str) {
        counters.add(outcome, 1, || self.answers.with_label_values(&[rule, outcome]));
    }

    /// Whether a layer can be used.
    pub fn set_ready(&self, layer: &str, is_ready: bool) {
        self.ready.with_label_values(&[layer]).set(i64::from(is_ready));
    }

    /// There is no such layer any more.
    pub fn forget_ready(&self, layer: &str) {
        let _ = self.ready.remove_label_values(&[layer]);
    }

    /// So much is kept.
    pub fn hold(&self, answers: u64, bytes: u64) {
        self.kept.set(i64::try_from(answers).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
