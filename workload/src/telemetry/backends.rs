//! How backends do: what they have to do, who waits for them, and which are left alone.

use super::metrics::{self, registered};
use crate::backend::Occupancy;
use codecrucible_contract::Urgency;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};
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
    /// What it has to do, and who waits.
    pub occupancy: Occupancy,
    /// Whether it is left alone.
    pub is_resting: bool,
}

impl BackendMetrics {
    pub(super) fn registered(registry: &Registry) -> prometheus::Result<Self> {
        let gauges = |name: &str, help: &str| metrics::gauges(registry, name, help, &["backend"]);
        Ok(Self {
            in_flight: gauges("codecrucible_backend_requests_in_flight", "Requests that a backend has.")?,
            most: gauges(
                "codecrucible_backend_requests_limit",
                "Most requests that a backend has at once, where that is bounded; adaptive ones change by themselves.",
            )?,
            queued: metrics::gauges(
                registry,
                "codecrucible_backend_requests_queued",
                "Requests that wait for a backend, by urgency.",
                &["backend", "urgency"],
            )?,
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
                    &["backend", "urgency"],
                )?,
            )?,
            shed: registered(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "codecrucible_backend_requests_shed_total",
                        "Requests that got no room at a backend: too many waited, or for too long.",
                    ),
                    &["backend", "urgency"],
                )?,
            )?,
        })
    }

    /// Notes that a request waited, and whether it got room.
    pub fn waited(&self, backend: &str, urgency: Urgency, wait: Duration, got_room: bool) {
        let labels = [backend, word(urgency)];
        if got_room {
            self.waits.with_label_values(&labels).observe(wait.as_secs_f64());
        } else {
            self.shed.with_label_values(&labels).inc();
        }
    }

    /// Notes how all of them do; what was of others is forgotten.
    pub fn look<'a>(&self, sights: impl Iterator<Item = BackendSight<'a>>) {
        for gauges in [&self.in_flight, &self.most, &self.queued, &self.resting] {
            gauges.reset();
        }
        for BackendSight { name, occupancy: Occupancy { in_flight, most, queued }, is_resting } in sights {
            self.in_flight.with_label_values(&[name]).set(in_flight.into());
            if let Some(most) = most {
                self.most.with_label_values(&[name]).set(most.into());
                for (urgency, queued) in Urgency::ALL.into_iter().zip(queued) {
                    let queued = i64::try_from(queued).unwrap_or(i64::MAX);
                    self.queued.with_label_values(&[name, word(urgency)]).set(queued);
                }
            }
            self.resting.with_label_values(&[name]).set(is_resting.into());
        }
    }
}

const fn word(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::High => "high",
        Urgency::Normal => "normal",
        Urgency::Low => "low",
    }
}
