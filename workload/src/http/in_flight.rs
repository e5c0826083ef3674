//! Counts requests while they are answered: a stream until its last byte, or until its client is gone.

use super::farewell::answered_in_time;
use super::watched_body::{Watch, watched};
use crate::service::Service;
use axum::response::Response;
use prometheus::IntGauge;
use std::pin::pin;

/// Counts one request.
struct Counted(IntGauge);

impl Counted {
    fn begin(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Watch for Counted {}

/// An answer that is under way until it has ended. It begins, and goes, within the time that it counts for.
pub(super) async fn counted<A: Future<Output = Response>>(
    service: &Service,
    answer: impl FnOnce() -> A,
) -> Response {
    let counted = Counted::begin(&service.metrics().requests_in_flight);
    let response = answered_in_time(service, pin!(answer())).await;
    response.map(|body| watched(body, counted))
}
