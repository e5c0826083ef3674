//! Prometheus metrics, named `codecrucible_operator_<noun>_<unit>[_total]`.

use super::ledger::{Ledger, State};
use kube::{Resource, ResourceExt as _};
use prometheus::core::Collector;
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The budgets for a policy are 2 s and 5 s.
const APPLIED_BUCKETS_SECONDS: [f64; 7] = [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0];

/// The metrics of one process.
pub(crate) struct Metrics {
    registry: Registry,
    /// Held by the one that looks and reads: another one would find what is measured anew half done.
    scrape: Mutex<()>,
    /// Reconciles by the resource's kind and by outcome: `success` or the error's reason.
    pub(crate) reconciles: IntCounterVec,
    /// Time of a reconcile, by the resource's kind.
    pub(crate) reconcile_seconds: HistogramVec,
    /// Resources that wait to be looked at, by kind.
    pub(crate) queued: IntGaugeVec,
    /// What became of each resource when it was looked at last.
    pub(crate) ledger: Ledger,
    /// Time from handing out a policy until every ready replica runs it, as the status has it: in whole seconds.
    pub(crate) policy_applied_seconds: Histogram,
    resources: IntGaugeVec,
    /// Writes to the API server by kind.
    pub(crate) writes: IntCounterVec,
    /// Replicas that were evicted because they did not run what they were given.
    pub(crate) evictions: IntCounter,
    /// Whether so many services were acted on lately that no other one is.
    pub(crate) fuse_blown: IntGauge,
    /// Whether this process leads.
    pub(crate) leader: IntGauge,
}

impl Metrics {
    /// Registers everything.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let made = Maker(&registry);
        Ok(Self {
            reconciles: made.counters(
                "reconciles_total",
                "Reconciles by kind of resource and by outcome.",
                &["resource", "outcome"],
            )?,
            reconcile_seconds: made.registered(HistogramVec::new(
                HistogramOpts::new(named("reconcile_seconds"), "Time of a reconcile by kind of resource."),
                &["resource"],
            )?)?,
            queued: made.gauges(
                "queued_resources",
                "Resources that something has happened to since they were looked at last, by kind.",
                &["resource"],
            )?,
            ledger: Ledger::default(),
            policy_applied_seconds: made.registered(Histogram::with_opts(
                HistogramOpts::new(
                    named("policy_applied_seconds"),
                    "Time until every ready replica runs a policy that was handed out.",
                )
                .buckets(APPLIED_BUCKETS_SECONDS.to_vec()),
            )?)?,
            resources: made.gauges("resources", "Resources by kind and state.", &["resource", "state"])?,
            writes: made.counters("writes_total", "Writes to the API server by kind.", &["kind"])?,
            evictions: made.registered(IntCounter::new(
                named("evictions_total"),
                "Replicas that were evicted because they did not run what they were given.",
            )?)?,
            fuse_blown: made
                .gauge("fuse_blown", "1 while so many services were acted on that no other one is.")?,
            leader: made.gauge("leader", "1 while this process leads.")?,
            scrape: Mutex::default(),
            registry,
        })
    }

    /// Notes a reconcile of a resource of a kind: how long it took, how it ended, and how it found the resource.
    pub(crate) fn note_reconcile<K>(
        &self,
        kind: &'static str,
        resource: &K,
        state: Option<State>,
        outcome: &'static str,
        is_gone: bool,
        took: Duration,
    ) where
        K: Resource<DynamicType = ()>,
    {
        self.reconcile_seconds.with_label_values(&[kind]).observe(took.as_secs_f64());
        self.reconciles.with_label_values(&[kind, outcome]).inc();
        if is_gone {
            self.ledger.forget(kind, resource.namespace().as_deref(), &resource.name_any());
        } else {
            self.ledger.note(kind, resource, state, outcome, took);
        }
    }

    /// The text exposition format, version 0.0.4.
    pub(crate) fn render(&self) -> Vec<u8> {
        let _alone = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.resources.reset();
        for ((kind, state), count) in self.ledger.counts() {
            self.resources.with_label_values(&[kind, state.as_str()]).set(count);
        }
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics do not encode");
        }
        text
    }
}

fn named(name: &str) -> String {
    format!("codecrucible_operator_{name}")
}

/// Makes metrics that the registry knows.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn registered<T: Collector + Clone + 'static>(&self, metric: T) -> prometheus::Result<T> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.registered(IntCounterVec::new(Opts::new(named(name), help), labels)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.registered(IntGaugeVec::new(Opts::new(named(name), help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.registered(IntGauge::new(named(name), help)?)
    }
}
