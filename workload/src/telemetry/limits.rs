//! What limits say, and whether replicas count together.

use super::handles::Handles;
use super::metrics::registered;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

/// What is told apart of how long the store takes, seconds: it is near, and nobody waits for it long.
const STORE_SECONDS: [f64; 8] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.03, 0.05];

/// What one limit said about requests: they are admitted, or not.
pub type DecisionCounters = Handles<&'static str, 2>;

/// The metrics of limits.
pub struct LimitMetrics {
    decisions: IntCounterVec,
    /// Requests for which a limit could not ask the store, by limit and what it says is to be done then.
    pub fallbacks: IntCounterVec,
    /// Reservations of tokens that could not be corrected because too many wait for the store.
    pub unsettled: IntCounter,
    /// How long requests waited for the store, also where it did not answer, seconds.
    pub store_seconds: Histogram,
    /// Whether replicas count together in a store; nothing where there is none.
    pub store_connected: IntGaugeVec,
}

impl LimitMetrics {
    pub(super) fn registered(registry: &Registry) -> prometheus::Result<Self> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        Ok(Self {
            decisions: counters(
                "codecrucible_limit_decisions_total",
                "What limits said about requests: admitted, refused, or would_refuse of those in shadow.",
                &["limit", "decision"],
            )?,
            fallbacks: counters(
                "codecrucible_limit_fallbacks_total",
                "Decisions of limits for which the store could not be asked, by what the limit says is to be done then.",
                &["limit", "fallback"],
            )?,
            unsettled: registered(
                registry,
                IntCounter::new(
                    "codecrucible_limit_reservations_unsettled_total",
                    "Reservations of tokens that were not corrected because too many were waiting for the store.",
                )?,
            )?,
            store_seconds: registered(
                registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "codecrucible_limit_store_seconds",
                        "How long requests waited for each answer of the store of the limits, also where none came in time.",
                    )
                    .buckets(STORE_SECONDS.to_vec()),
                )?,
            )?,
            store_connected: registered(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "codecrucible_limit_store_connected",
                        "1 while the replica counts together with others in a store, 0 while it does not answer.",
                    ),
                    &["store"],
                )?,
            )?,
        })
    }

    /// Notes what a limit said about a request, which has these counters.
    pub fn decided(&self, counters: &DecisionCounters, limit: &str, decision: &'static str) {
        counters.add(decision, 1, || self.decisions.with_label_values(&[limit, decision]));
    }
}
