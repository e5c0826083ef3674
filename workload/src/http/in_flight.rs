//! Counts requests while they are answered: a stream until its last byte, or until its client is gone. None is waited for when the service has to end.

use super::error::ApiError;
use super::watched_body::{Watch, watched};
use crate::service::Service;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
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
    let answered = service.farewell().run_until_cancelled(next.run(request)).await;
    answered.unwrap_or_else(|| ApiError::stopping().into_response()).map(|body| watched(body, counted))
}
