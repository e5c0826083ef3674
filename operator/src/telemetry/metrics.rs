//! Prometheus metrics, named `codecrucible_operator_<noun>_<unit>[_total]`.

use prometheus::core::Collector;
use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

/// The metrics of one process.
pub(crate) struct Metrics {
    registry: Registry,
    /// Reconciles by the resource's kind and by outcome: `success` or the error's reason.
    pub(crate) reconciles: IntCounterVec,
    /// Time of a reconcile, by the resource's kind.
    pub(crate) reconcile_seconds: HistogramVec,
    /// Writes to the API server by kind.
    pub(crate) writes: IntCounterVec,
    /// Whether this process leads.
    pub(crate) leader: IntGauge,
}

impl Metrics {
    /// Registers everything.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self {
            reconciles: registered(
                &registry,
                IntCounterVec::new(
                    Opts::new(
                        "codecrucible_operator_reconciles_total",
                        "Reconciles by kind of resource and by outcome.",
                    ),
                    &["resource", "outcome"],
                )?,
            )?,
            reconcile_seconds: registered(
                &registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "codecrucible_operator_reconcile_seconds",
                        "Time of a reconcile by kind of resource.",
                    ),
                    &["resource"],
                )?,
            )?,
            writes: registered(
                &registry,
                IntCounterVec::new(
                    Opts::new("codecrucible_operator_writes_total", "Writes to the API server by kind."),
                    &["kind"],
                )?,
            )?,
            leader: registered(
                &registry,
                IntGauge::new("codecrucible_operator_leader", "1 while this process leads.")?,
            )?,
            registry,
        })
    }

    /// The text exposition format, version 0.0.4.
    pub(crate) fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics do not encode");
        }
        text
    }
}

fn registered<T: Collector + Clone + 'static>(registry: &Registry, metric: T) -> prometheus::Result<T> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
