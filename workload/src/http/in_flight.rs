//! Counts requests while they are answered: a stream until its last byte, or until its client is gone.

use super::farewell::answered_in_time;
use super::watched_body::{Watch, watched};
use crate::service::Service;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use prometheus::IntGauge;

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

pub(super) async fn count(State(service): State<Service>, request: Request, next: Next) -> Response {
    let counted = Counted::begin(&service.metrics().requests_in_flight);
    let response = answered_in_time(&service, next.run(request)).await;
    response.map(|body| watched(body, counted))
}
