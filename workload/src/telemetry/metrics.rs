//! Prometheus metrics, named `codecrucible_<noun>_<unit>[_total]`. Every label has few values.

use super::handles::Handles;
use super::logging::lost_lines;
use super::{BackendMetrics, CacheMetrics, LimitMetrics, ModelMetrics, RequestMetrics};
use codecrucible_contract::REQUESTS_IN_FLIGHT_METRIC;
use prometheus::core::Collector;
use prometheus::{
    Encoder as _, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::sync::{Mutex, PoisonError};

/// Decisions on each of three actions, by their two outcomes.
type AccessCounters = Handles<(&'static str, &'static str), 6>;

/// The metrics of one process.
pub struct Metrics {
    registry: Registry,
    /// Held by the one that looks and reads: another one would find what is measured anew half done.
    scrape: Mutex<()>,
    /// Requests at each route.
    pub requests: RequestMetrics,
    access_decisions: IntCounterVec,
    access_counters: AccessCounters,
    /// Decisions that access policies in shadow would make otherwise, by action.
    pub shadow_differences: IntCounterVec,
    /// Comparisons with a policy in shadow, by action and by wherein it differs.
    pub shadow_comparisons: IntCounterVec,
    /// Secrets that were found, by pattern, by what became of them, and by the side on which they were.
    pub secrets: IntCounterVec,
    /// What models answered.
    pub models: ModelMetrics,
    /// How backends do.
    pub backends: BackendMetrics,
    /// What was given again.
    pub cache: CacheMetrics,
    /// What limits say.
    pub limits: LimitMetrics,
    /// Batches of traces by whether a collector took them.
    pub trace_batches: IntCounterVec,
    /// Tokens issued.
    pub tokens_issued: IntCounter,
    /// Revision of the applied bundle; its value is always one.
    bundle_info: IntGaugeVec,
    /// Bundles or configurations that were refused.
    pub configurations_refused: IntCounter,
    /// Whether the newest configuration was refused, so that an older one serves.
    pub configuration_stale: IntGauge,
    /// Requests that are being answered, streams to their end.
    pub requests_in_flight: IntGauge,
    /// Tasks of the runtime that have not ended.
    pub tasks: IntGauge,
    /// Open connections.
    pub connections: IntGauge,
    /// When the certificate ends that clients are shown, seconds since 1970; zero where there is none.
    pub certificate_end_seconds: IntGauge,
}

impl Metrics {
    /// Registers everything.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        registered(&registry, lost_lines()?)?;
        let counters = |name: &str, help: &str, labels: &[&str]| {
            registered(&registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let counter = |name: &str, help: &str| registered(&registry, IntCounter::new(name, help)?);
        let gauge = |name: &str, help: &str| registered(&registry, IntGauge::new(name, help)?);
        Ok(Self {
            trace_batches: counters(
                "codecrucible_trace_batches_total",
                "Batches of traces: told, or lost because the collector did not take them.",
                &["outcome"],
            )?,
            access_counters: AccessCounters::default(),
            requests: RequestMetrics::registered(&registry)?,
            scrape: Mutex::default(),
            access_decisions: counters(
                "codecrucible_access_decisions_total",
                "Decisions about access by action and outcome, where an AccessPolicy is selected.",
                &["action", "outcome"],
            )?,
            shadow_differences: counters(
                "codecrucible_access_shadow_differences_total",
                "Decisions that AccessPolicies in Shadow would make otherwise, by action and what they would come to.",
                &["action", "outcome"],
            )?,
            shadow_comparisons: counters(
                "codecrucible_policy_shadow_comparisons_total",
                "Comparisons with a policy in shadow, by action and by wherein it differs.",
                &["action", "difference"],
            )?,
            secrets: counters(
                "codecrucible_secrets_found_total",
                "What looks like a secret in requests and answers, by pattern and by what became of it.",
                &["pattern", "action", "side"],
            )?,
            models: ModelMetrics::registered(&registry)?,
            backends: BackendMetrics::registered(&registry)?,
            cache: CacheMetrics::registered(&registry)?,
            limits: LimitMetrics::registered(&registry)?,
            tokens_issued: counter("codecrucible_access_tokens_issued_total", "Access tokens issued.")?,
            bundle_info: gauges(&registry, "codecrucible_bundle_info", "The applied bundle.", &["revision"])?,
            configurations_refused: counter(
                "codecrucible_configurations_refused_total",
                "Configurations that were refused.",
            )?,
            configuration_stale: gauge(
                "codecrucible_configuration_stale",
                "1 while the newest configuration is refused.",
            )?,
            tasks: gauge("codecrucible_tasks", "Tasks that have not ended.")?,
            connections: gauge("codecrucible_connections", "Open connections to the public API.")?,
            requests_in_flight: gauge(
                REQUESTS_IN_FLIGHT_METRIC,
                "Requests that are being answered, streams to their end.",
            )?,
            certificate_end_seconds: gauge(
                "codecrucible_certificate_end_timestamp_seconds",
                "When the certificate ends that clients are shown, since 1970; 0 where there is none.",
            )?,
            registry,
        })
    }

    /// Notes what was decided about access, where something is ruled.
    pub fn decided_access(&self, action: &'static str, outcome: &'static str) {
        let look_up = || self.access_decisions.with_label_values(&[action, outcome]);
        self.access_counters.add((action, outcome), 1, look_up);
    }

    /// Notes the revision that now serves.
    pub fn applied(&self, revision: &str) {
        self.bundle_info.reset();
        self.bundle_info.with_label_values(&[revision]).set(1);
        self.configuration_stale.set(0);
    }

    /// Notes that a configuration was refused while an older one serves on.
    pub fn refused(&self) {
        self.configurations_refused.inc();
        self.configuration_stale.set(1);
    }

    /// The text exposition format, version 0.0.4, after a look at what is not counted but measured.
    pub fn render(&self, look: impl FnOnce(&Self)) -> Vec<u8> {
        let _alone = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        look(self);
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics do not encode");
        }
        text
    }
}

pub(super) fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntGaugeVec> {
    registered(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
}

pub(super) fn registered<T: Collector + Clone + 'static>(
    registry: &Registry,
    metric: T,
) -> prometheus::Result<T> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn who_reads_while_another_one_looks_waits_for_it() {
        let metrics = &Metrics::new().unwrap();
        let (looks, looked) = mpsc::channel();
        std::thread::scope(|scope| {
            metrics.render(|_| {
                let (begins, begun) = mpsc::channel();
                scope.spawn(move || {
                    begins.send(()).unwrap();
                    metrics.render(|_| looks.send(()).unwrap())
                });
                begun.recv().unwrap();
                (0..1_000).for_each(|_| std::thread::yield_now());
                assert!(looked.try_recv().is_err());
            });
        });
        assert!(looked.try_recv().is_ok());
    }
}
