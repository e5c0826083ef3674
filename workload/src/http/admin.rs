//! Probes, metrics, and what the operator asks.

use crate::backend::Backend;
use crate::service::Service;
use crate::telemetry::BackendSight;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use codecrucible_contract::Acknowledgement;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio::time::Instant;

/// Alive: the process answers. Depends on nothing else, so that a backend's trouble never restarts us.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// Ready: not stopping, and some backend can answer. A configuration is always applied by now: the
/// listeners are bound only after the first one was.
pub(super) async fn ready(State(service): State<Service>) -> (StatusCode, String) {
    if service.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".into());
    }
    match service.glance().readiness() {
        Ok(()) => (StatusCode::OK, "ok\n".into()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("no backend can answer: {reason}\n")),
    }
}

/// The same for the public port, where anybody may ask: paths and names of backends are not for everybody.
pub(super) async fn ready_without_reason(service: State<Service>) -> (StatusCode, &'static str) {
    let (status, _) = ready(service).await;
    (status, if status.is_success() { "ok\n" } else { "not ready\n" })
}

/// Prometheus' text format.
pub(super) async fn metrics(State(service): State<Service>) -> impl IntoResponse {
    service.cache().measure().await;
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (snapshot, now) = (service.snapshot(), Instant::now());
    let text = service.metrics().render(|metrics| {
        metrics.backends.look(snapshot.backends().map(|backend| sight(backend, now)));
        metrics.tasks.set(i64::try_from(tasks).unwrap_or(i64::MAX));
    });
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

fn sight(backend: &Backend, now: Instant) -> BackendSight<'_> {
    let (occupancy, is_resting) = (backend.health().room().occupancy(), backend.health().is_resting(now));
    BackendSight { name: backend.name(), occupancy, is_resting }
}

/// What was applied, and what was refused since.
pub(super) async fn status(State(service): State<Service>) -> Json<Acknowledgement> {
    Json(service.acknowledgement())
}
