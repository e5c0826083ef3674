//! What the replicas tell of themselves.

use crate::Duration;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What the replicas log.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Observability {
    /// The least severe level that is written; changes without a restart. Lines of requests are written whatever it is.
    pub log_level: LogLevel,
    /// Which requests get a line of the log, at their end: all that are answered with 500 or above or break, and of the others these. What
    /// is not read in time is lost: `codecrucible_log_lines_lost_total` counts it.
    pub access_log: AccessLog,
    /// Where requests are told of as traces, in OpenTelemetry's protocol (OTLP over HTTP with protobuf, not gRPC), and which of them; none if it is left
    /// out. Of a request that comes with a `traceparent`, its flag says whether it is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<Traces>,
}

/// Where requests are told of as traces, and which of them.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.endpoint.matches('/v1/traces/?$')").message("endpoint must be without /v1/traces, which is appended"))]
pub struct Traces {
    /// Base URL of a collector, without credentials, such as `http://otel-collector.monitoring.svc:4318`; `/v1/traces` is appended. The service's network policy opens the
    /// URL's port, so it must be the one that the collector's pods listen on; `https` needs a publicly trusted certificate.
    #[schemars(length(max = 2048), regex(pattern = r"^https?://[^\s/?#@][^\s?#@]*$"))]
    pub endpoint: String,
    /// A sample of so many percent, of the requests that no client traces.
    #[serde(default = "five")]
    #[schemars(range(min = 0, max = 100))]
    pub sample_percent: i32,
}

fn five() -> i32 {
    5
}

/// Which requests get a line: all that are answered with 500 or above or break, and of the others these. What
/// is not read in time is lost: `codecrucible_log_lines_lost_total` counts it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct AccessLog {
    /// A sample of so many percent.
    #[schemars(range(min = 0, max = 100))]
    pub sample_percent: i32,
    /// All that took longer, 1ms to 1h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slower_than: Option<Duration>,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self { sample_percent: 100, slower_than: None }
    }
}

/// Severity of log lines.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}
