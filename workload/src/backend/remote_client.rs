//! The HTTP client of one backend: its own connection pool, so that one backend's trouble stays its own.

use bytes::Bytes;
use codecrucible_contract::Timeouts;
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::time::Duration;

/// Idle connections kept for a backend.
const MAX_IDLE_CONNECTIONS: usize = 64;
/// Life of an idle connection, seconds: below what common servers keep, so that we close first.
const IDLE_CONNECTION_SECONDS: u64 = 4;

pub(super) type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client for `http` and `https` URLs; trusts the public certificate authorities.
pub(super) fn http_client(timeouts: Timeouts) -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(Duration::from_millis(timeouts.connect_ms)));
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_webpki_roots()
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(IDLE_CONNECTION_SECONDS))
        .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
        .build(connector)
}
