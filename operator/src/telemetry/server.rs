//! Probes, metrics and what became of each resource, over HTTP.

use super::Metrics;
use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::Arc;

/// Serves until the socket fails. A process that waits for the lease is alive and ready: it is what takes
/// over when the leader ends.
pub(crate) async fn serve(address: SocketAddr, metrics: Arc<Metrics>) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(|| async { "ok\n" }))
        .route("/metrics", get(render))
        .route("/debug/resources", get(resources))
        .with_state(metrics);
    let socket = tokio::net::TcpListener::bind(address).await?;
    axum::serve(socket, router.into_make_service_with_connect_info::<SocketAddr>()).await?;
    anyhow::bail!("the listener for probes and metrics ended")
}

async fn render(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render())
}

/// Only for whoever may forward a port to the pod, from where it comes over loopback: which services there are is not for
/// everybody in the cluster to know.
async fn resources(
    State(metrics): State<Arc<Metrics>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
) -> Result<impl IntoResponse, StatusCode> {
    if !peer.ip().is_loopback() {
        return Err(StatusCode::FORBIDDEN);
    }
    let document = metrics.ledger.to_json().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(CONTENT_TYPE, "application/json")], document))
}
