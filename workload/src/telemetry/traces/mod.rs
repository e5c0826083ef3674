//! Requests as traces, told to a collector by OpenTelemetry's protocol (OTLP over HTTP) where a policy names one. Nothing is made of a request that is not
//! told of, and what a collector does not take in time is lost: no request waits for it.

mod request_spans;
mod sender;

pub use request_spans::{AttemptSpan, RequestSpans};

use arc_swap::ArcSwapOption;
use codecrucible_contract::{Identity, Policy, Traces as Settings};
use opentelemetry::KeyValue;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanProcessor as _};
use prometheus::IntCounterVec;
use sender::Sender;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;

/// Most spans that wait to be told; more are lost.
const MAX_WAITING_SPANS: usize = 4096;
/// Most spans that are told at once.
const MAX_BATCH_SPANS: usize = 512;
/// Longest wait at the end for what was not told yet, seconds.
const LAST_SECONDS: u64 = 2;

/// Where requests are told of, if anywhere.
pub struct Traces {
    running: ArcSwapOption<Running>,
    batches: IntCounterVec,
}

struct Running {
    settings: Settings,
    identity: Identity,
    spans: BatchSpanProcessor,
}

impl Traces {
    /// Nowhere yet; batches are counted by their outcome.
    pub fn new(batches: IntCounterVec) -> Self {
        Self { running: ArcSwapOption::empty(), batches }
    }

    /// From now on a policy holds. Needs a runtime where it names a collector.
    pub fn follow(&self, policy: &Policy) {
        let wanted = policy.observability.traces.as_ref();
        let running = self.running.load_full();
        let is_same = |running: &Arc<Running>| {
            wanted.is_some_and(|wanted| wanted.endpoint == running.settings.endpoint)
                && running.identity == policy.identity
        };
        if running.as_ref().map_or(wanted.is_none(), is_same) {
            return;
        }
        let next =
            wanted.and_then(|wanted| match processor(wanted, &policy.identity, self.batches.clone()) {
                Ok(spans) => {
                    let (settings, identity) = (wanted.clone(), policy.identity.clone());
                    Some(Arc::new(Running { settings, identity, spans }))
                }
                Err(error) => {
                    tracing::error!(%error, "requests are not told of");
                    None
                }
            });
        self.running.store(next);
        running.into_iter().for_each(|running| drop(spawn_blocking(move || running.end())));
    }

    /// Tells of a request.
    pub fn tell(&self, request: RequestSpans<'_>) {
        if let Some(running) = &*self.running.load() {
            request.into_spans().into_iter().for_each(|span| running.spans.on_end(span));
        }
    }

    /// Tells what was not told yet, if the collector takes it soon.
    pub async fn settle(&self) {
        if let Some(running) = self.running.swap(None) {
            let _ = spawn_blocking(move || running.end()).await;
        }
    }
}

impl Running {
    /// It waits, so it must not be called where requests are answered.
    fn end(&self) {
        if let Err(error) = self.spans.shutdown_with_timeout(Duration::from_secs(LAST_SECONDS)) {
            tracing::warn!(%error, "the last traces were not told");
        }
    }
}

fn processor(
    settings: &Settings,
    identity: &Identity,
    batches: IntCounterVec,
) -> Result<BatchSpanProcessor, ExporterBuildError> {
    let endpoint = format!("{}/v1/traces", settings.endpoint.trim_end_matches('/'));
    let exporter = SpanExporter::builder().with_http().with_http_client(Sender::new(batches));
    let exporter = exporter.with_endpoint(endpoint).build()?;
    let limits = BatchConfigBuilder::default()
        .with_max_queue_size(MAX_WAITING_SPANS)
        .with_max_export_batch_size(MAX_BATCH_SPANS)
        .build();
    let mut spans = BatchSpanProcessor::builder(exporter).with_batch_config(limits).build();
    spans.set_resource(&resource(identity));
    Ok(spans)
}

/// The service as tokens name it: `NAME.NAMESPACE`, or anything outside Kubernetes.
fn resource(identity: &Identity) -> Resource {
    let (name, namespace) = identity.audience.split_once('.').unwrap_or((&identity.audience, ""));
    let of_pod = std::env::var("HOSTNAME").ok().map(|pod| KeyValue::new("service.instance.id", pod));
    let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
    Resource::builder_empty()
        .with_attribute(KeyValue::new("service.name", name.to_owned()))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attributes(namespace.map(|namespace| KeyValue::new("service.namespace", namespace.to_owned())))
        .with_attributes(of_pod)
        .build()
}
