//! The least that a gateway does with the usual parts: axum in front, hyper's client with its pool behind, nothing between.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::net::SocketAddr;

#[derive(Clone)]
struct Floor {
    client: Client<HttpConnector, Full<Bytes>>,
    uri: Uri,
}

/// Serves the floor in front of a backend.
pub async fn floor(backend: SocketAddr) -> anyhow::Result<SocketAddr> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let uri = format!("http://{backend}/v1/chat/completions").parse()?;
    let router = Router::new().route("/v1/chat/completions", post(pass)).with_state(Floor { client, uri });
    let socket = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = socket.local_addr()?;
    // A stream whose chunks wait for each other is no stream: every gateway sends at once.
    let socket = socket.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    tokio::spawn(async move { axum::serve(socket, router).await });
    Ok(address)
}

async fn pass(State(floor): State<Floor>, body: Bytes) -> Result<Response<Body>, StatusCode> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = floor.uri.clone();
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let answer = floor.client.request(request).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    Ok(answer.map(Body::new))
}
