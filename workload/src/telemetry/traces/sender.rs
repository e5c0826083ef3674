//! Sends batches on the runtime of the process: whoever asks it to is a thread that has none.

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use prometheus::IntCounterVec;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// Longest wait for a collector's answer, seconds.
const ANSWER_SECONDS: u64 = 10;
/// Largest answer that is read, bytes: it says at most what was not taken.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// One collector's client; trusts the public certificate authorities.
#[derive(Debug)]
pub(super) struct Sender {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: Handle,
    batches: IntCounterVec,
}

impl Sender {
    /// Must be made on the runtime that it sends on.
    pub(super) fn new(batches: IntCounterVec) -> Self {
        let connector = HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new()).build(connector.build());
        Self { client, runtime: Handle::current(), batches }
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let send = async move {
            let answer = client.request(request.map(Full::new)).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        // Also the time limit is made there: it needs a clock of the runtime.
        let sending = async move { timeout(Duration::from_secs(ANSWER_SECONDS), send).await? };
        let sent: Result<Response<Bytes>, HttpError> = self.runtime.spawn(sending).await?;
        let is_told = sent.as_ref().is_ok_and(|answer| answer.status().is_success());
        self.batches.with_label_values(&[if is_told { "told" } else { "lost" }]).inc();
        sent
    }
}
