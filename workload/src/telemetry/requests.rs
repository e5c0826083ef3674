//! Requests at each route: what they were answered, and how soon.

use super::handles::Handles;
use super::metrics::registered;
use http::StatusCode;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use std::time::Duration;

/// Bounds of the times until answers begin that are told apart, seconds.
const BEGAN_SECONDS: [f64; 12] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// The metrics of requests.
pub struct RequestMetrics {
    requests: IntCounterVec,
    /// Requests that succeed, by status and route.
    successes: Handles<(StatusCode, &'static str), 16>,
    began: HistogramVec,
    began_at: Handles<&'static str, 16, Histogram>,
}

impl RequestMetrics {
    pub(super) fn registered(registry: &Registry) -> prometheus::Result<Self> {
        let requests = IntCounterVec::new(
            Opts::new("codecrucible_requests_total", "Requests by route and status."),
            &["route", "status"],
        )?;
        let began = HistogramVec::new(
            HistogramOpts::new(
                "codecrucible_request_began_seconds",
                "How long it took until answers of requests that succeed began, for a stream its first event, by route.",
            )
            .buckets(BEGAN_SECONDS.to_vec()),
            &["route"],
        )?;
        Ok(Self {
            requests: registered(registry, requests)?,
            successes: Handles::default(),
            began: registered(registry, began)?,
            began_at: Handles::default(),
        })
    }

    /// Notes the status of a request at a route, and how long it took until its answer began.
    pub fn answered(&self, route: &'static str, status: StatusCode, after: Duration) {
        let look_up = || self.requests.with_label_values(&[route, status.as_str()]);
        if status.is_success() {
            self.successes.add((status, route), 1, look_up);
            let look_up = || self.began.with_label_values(&[route]);
            self.began_at.with(route, look_up, |began| began.observe(after.as_secs_f64()));
        } else {
            // Whoever likes is refused in many ways at all routes, and would take all places.
            look_up().inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::core::Collector as _;

    #[test]
    fn only_of_what_succeeds_it_is_told_how_soon_it_began() {
        let metrics = RequestMetrics::registered(&Registry::new()).unwrap();
        for (status, after) in [(200, 3), (200, 1_500), (401, 1), (502, 1)] {
            let status = StatusCode::from_u16(status).unwrap();
            metrics.answered("/v1/models", status, Duration::from_millis(after));
        }
        let began = metrics.began.with_label_values(&["/v1/models"]);
        assert_eq!((began.get_sample_count(), metrics.requests.collect()[0].get_metric().len()), (2, 3));
        assert!((began.get_sample_sum() - 1.503).abs() < 1e-9);
    }
}
