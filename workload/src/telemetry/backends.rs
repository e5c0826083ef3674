//! How backends do: what they have to do, who waits for them, and which are left alone.

use super::metrics::registered;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use std::time::Duration;

/// Bounds of the waits that are told apart, seconds.
const WAITS: [f64; 10] = [0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0, 600.0];

/// The metrics of backends.
pub struct BackendMetrics {
    in_flight: IntGaugeVec,
    most: IntGaugeVec,
    queued: IntGaugeVec,
    resting: IntGaugeVec,
    waits: HistogramVec,
    shed: IntCounterVec,
}

/// How one of them does now.
pub struct BackendSight<'a> {
    /// Its name.
    pub name: &'a str,
    /// Requests that it has.
    pub in_flight: u32,
    /// Most of them at once, where that is bounded.
    pub most: Option<u32>,
    /// Requests that wait for room.
    pub queued: usize,
    /// Whether it is left alone.
    pub is_resting: bool,
}

impl BackendMetrics {
    pub(super) fn registered(registry: &Registry) -> prometheus::Result<Self> {
        let gauges = |name: &str, help: &str| {
            registered(registry, IntGaugeVec::new(Opts::new(name, help), &["backend"])?)
        };
        Ok(Self {
            in_flight: gauges("codecrucible_backend_requests_in_flight", "Requests that a backend has.")?,
            most: gauges(
                "codecrucible_backend_requests_limit",
                "Most requests that a backend has at once, where that is bounded; adaptive ones change by themselves.",
            )?,
            queued: gauges("codecrucible_backend_requests_queued", "Requests that wait for a backend.")?,
            resting: gauges(
                "codecrucible_backend_resting",
                "1 while a backend is left alone because it fails or asked for that, or is only tried out.",
            )?,
            waits: registered(
                registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "codecrucible_backend_queue_seconds",
                        "How long requests waited for a backend that then had room.",
                    )
                    .buckets(WAITS.to_vec()),
                    &["backend"],
                )?,
            )?,
            shed: registered(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "codecrucible_backend_requests_shed_total",
                        "Requests that got no room at a backend: too many waited, or for too long.",
                    ),
                    &["backend"],
                )?,
            )?,
        })
    }

    /// Notes that a request waited, and whether it got room.
    pub fn waited(&self, backend: &str, wait: Duration, got_room: bool) {
        if got_room {
            let waits: Histogram = self.waits.with_label_values(&[backend]);
            waits.observe(wait.as_secs_f64());
        } else {
            self.shed.with_label_values(&[backend]).inc();
        }
    }

    /// Notes how all of them do; what was of others is forgotten.
    pub fn look<'a>(&self, sights: impl Iterator<Item = BackendSight<'a>>) {
        for gauges in [&self.in_flight, &self.most, &self.queued, &self.resting] {
            gauges.reset();
        }
        for BackendSight { name, in_flight, most, queued, is_resting } in sights {
            self.in_flight.with_label_values(&[name]).set(in_flight.into());
            if let Some(most) = most {
                self.most.with_label_values(&[name]).set(most.into());
            }
            self.queued.with_label_values(&[name]).set(i64::try_from(queued).unwrap_or(i64::MAX));
            self.resting.with_label_values(&[name]).set(is_resting.into());
        }
    }
}
