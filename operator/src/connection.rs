//! The way to the API server: one connection that all watches and requests share (HTTP/2), as `kubectl` has. One for each watch (HTTP/1.1)
//! costs some 60 KB of buffers each, for as long as the process lives; that is what remains where something between speaks nothing newer.
//! Limits are those of each request, since others go on beside one that is stuck.

use crate::leader::Fence;
use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Builder;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioTimer;
use kube::client::{Body, ConfigExt as _};
use kube::{Client, Config};
use rustls::pki_types::ServerName;
use std::time::Duration;
use tower::timeout::TimeoutLayer;
use tower::{BoxError, ServiceBuilder};
use tower_http::classify::ServerErrorsFailureClass;
use tower_http::timeout::ResponseBodyTimeoutLayer;
use tower_http::trace::TraceLayer;
use tracing::{Span, debug_span, field};

/// Longest wait until an answer begins, seconds: longer than the API server lets a request take that is no watch.
const FIRST_BYTE_SECONDS: u64 = 65;
/// Longest silence within an answer, seconds: longer than a watch is let run.
const SILENCE_SECONDS: u64 = 330;
/// Time after which a silent API server is asked whether it is still there, seconds. Together with the next one less than it takes to
/// lose the lease, so that a connection that is dead is given up before.
const PING_SECONDS: u64 = 3;
/// Longest wait for its answer, seconds; then the connection counts as broken.
const ANSWER_SECONDS: u64 = 3;
/// What the API server may send of one answer before it is read, bytes: that of many together stays below what the connection allows, so
/// that one that is not read holds up no other.
const UNREAD_BYTES: u32 = 128 * 1024;
/// Who we are in the API server's audit log.
const AGENT: &str = concat!("codecrucible-operator/", env!("CARGO_PKG_VERSION"));

/// A client that waits for nothing for ever, leaves it to us when to try again, and sends nothing once this process leads
/// no longer.
pub(crate) async fn connect(fence: &Fence) -> anyhow::Result<Client> {
    let mut config = Config::infer().await?;
    anyhow::ensure!(config.proxy_url.is_none(), "a proxy before the API server is not supported");
    config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
    let mut patient = TimeoutConnector::new(secure(&config)?);
    patient.set_connect_timeout(config.connect_timeout);
    patient.set_write_timeout(config.write_timeout);
    let http = Builder::new(fence.clone())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_keep_alive_interval(Duration::from_secs(PING_SECONDS))
        .http2_keep_alive_timeout(Duration::from_secs(ANSWER_SECONDS))
        .http2_keep_alive_while_idle(true)
        .http2_initial_stream_window_size(UNREAD_BYTES)
        .build(patient);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .layer(TraceLayer::new_for_http().make_span_with(span).on_response(note).on_failure(note_failure))
        .layer(TimeoutLayer::new(Duration::from_secs(FIRST_BYTE_SECONDS)))
        .layer(ResponseBodyTimeoutLayer::new(Duration::from_secs(SILENCE_SECONDS)))
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace))
}

fn secure(config: &Config) -> anyhow::Result<HttpsConnector<HttpConnector>> {
    let mut plain = HttpConnector::new();
    plain.enforce_http(false);
    let mut builder =
        HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = ServerName::try_from(name.clone())?;
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    Ok(builder.enable_all_versions().wrap_connector(plain))
}

/// A request as it stands in a trace: the names are those of OpenTelemetry's semantic conventions.
fn span(request: &Request<Body>) -> Span {
    debug_span!(
        "HTTP",
        otel.name = request.extensions().get::<&'static str>().unwrap_or(&"HTTP"),
        otel.kind = "client",
        http.request.method = %request.method(),
        url.full = %request.uri(),
        http.response.status_code = field::Empty,
        server.address = request.uri().host(),
        server.port = request.uri().port_u16(),
        otel.status_code = field::Empty,
    )
}

fn note<B>(answer: &Response<B>, _: Duration, span: &Span) {
    span.record("http.response.status_code", answer.status().as_u16());
    if answer.status().is_client_error() || answer.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// Also one to which there was no answer.
fn note_failure(_: ServerErrorsFailureClass, _: Duration, span: &Span) {
    span.record("otel.status_code", "ERROR");
}
