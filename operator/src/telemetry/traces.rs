//! What a reconcile did and how long each part took, told to a collector over OTLP (HTTP, protobuf), if the environment says where one
//! is: by the variables that OpenTelemetry defines for all programs.

use anyhow::{anyhow, ensure};
use async_trait::async_trait;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{DynFilterFn, LevelFilter};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Where a collector is: one of them must be set.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// The file with the authorities that may sign a collector's certificate.
const AUTHORITIES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
/// What the operator is called, unless the environment says otherwise.
const SERVICE_NAME: (&str, &str) = ("OTEL_SERVICE_NAME", "codecrucible-operator");
/// Longest wait for a collector's answer, seconds.
const ANSWER_SECONDS: u64 = 10;
/// Largest answer that is read, bytes: it says at most what was not taken.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Longest wait at the end of the process for what was not told yet, seconds.
const LAST_SECONDS: u64 = 3;
/// Most spans that wait to be told; more are lost.
const MAX_WAITING_SPANS: usize = 2048;
/// Most spans that are told at once.
const MAX_BATCH_SPANS: usize = 512;

/// Tells a collector, until it is ended.
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// Nothing, if no collector is named. Must be called on the runtime that the process lives on.
    pub(super) fn from_environment() -> anyhow::Result<Option<Self>> {
        if variable(&ENDPOINTS).is_none() {
            return Ok(None);
        }
        let exporter = SpanExporter::builder().with_http().with_http_client(Sender::new()?).build();
        // Which one it says, with all that is in it.
        let exporter = exporter.map_err(|_| anyhow!("one of {ENDPOINTS:?} is not understood"))?;
        let limits = BatchConfigBuilder::default()
            .with_max_queue_size(MAX_WAITING_SPANS)
            .with_max_export_batch_size(MAX_BATCH_SPANS)
            .build();
        let batches = BatchSpanProcessor::builder(exporter).with_batch_config(limits).build();
        let name = variable(&[SERVICE_NAME.0]).unwrap_or_else(|| SERVICE_NAME.1.to_owned());
        let of_pod = [("k8s.pod.name", "POD_NAME"), ("k8s.namespace.name", "POD_NAMESPACE")];
        let of_pod = of_pod
            .into_iter()
            .filter_map(|(attribute, name)| Some(KeyValue::new(attribute, variable(&[name])?)));
        let resource = Resource::builder()
            .with_service_name(name)
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attributes(of_pod)
            .build();
        let provider = SdkTracerProvider::builder().with_span_processor(batches).with_resource(resource);
        Ok(Some(Self(provider.build())))
    }

    /// What turns spans into traces.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let told = DynFilterFn::new(|metadata, context: &Context<'_, S>| {
            is_told(metadata, context.lookup_current().is_some())
        });
        tracing_opentelemetry::layer()
            // Where in the code that is nobody looks for, and paths are those of whoever built it.
            .with_location(false)
            .with_threads(false)
            .with_tracer(self.0.tracer("codecrucible-operator"))
            .with_filter(told.with_max_level_hint(LevelFilter::DEBUG))
    }

    /// Tells what was not told yet, if the collector takes it soon.
    pub(crate) async fn end(self) {
        // It waits for a thread that waits for this one.
        let ended = spawn_blocking(move || self.0.shutdown_with_timeout(Duration::from_secs(LAST_SECONDS)));
        if let Ok(Err(error)) = ended.await {
            tracing::warn!(%error, "the last traces were not told");
        }
    }
}

/// Reconciles, their parts, and within them the requests to the API server and what the log says; of watches and the lease nothing,
/// which would tell of every second.
fn is_told(metadata: &Metadata<'_>, is_within: bool) -> bool {
    let is_of = |part: &str| metadata.target().starts_with(part);
    if is_of("codecrucible_operator::connection") {
        return is_within && *metadata.level() <= Level::DEBUG && metadata.is_span();
    }
    *metadata.level() <= Level::INFO
        && (is_within || is_of("kube_runtime::controller"))
        && !is_of("opentelemetry")
}

/// The first of some variables that has a value.
fn variable(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

/// Sends on the runtime of the process: whoever asks it to is a thread that has none.
#[derive(Debug)]
struct Sender {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: Handle,
}

impl Sender {
    fn new() -> anyhow::Result<Self> {
        let mut trusted = RootCertStore::empty();
        let authorities = variable(&AUTHORITIES);
        // The operator's image knows no authorities of its own.
        let is_encrypted = variable(&ENDPOINTS).is_some_and(|endpoint| endpoint.starts_with("https:"));
        ensure!(!is_encrypted || authorities.is_some(), "https needs one of {AUTHORITIES:?}");
        if let Some(file) = authorities {
            for certificate in CertificateDer::pem_file_iter(&file)? {
                trusted.add(certificate?)?;
            }
        }
        let config = ClientConfig::builder().with_root_certificates(trusted).with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new()).build(connector.build());
        Ok(Self { client, runtime: Handle::current() })
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
        self.runtime.spawn(async move { timeout(Duration::from_secs(ANSWER_SECONDS), send).await? }).await?
    }
}
