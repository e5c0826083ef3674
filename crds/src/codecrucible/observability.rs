//! What the replicas tell of themselves.

use crate::Duration;
use serde::{Deserialize, Serialize};

/// What the replicas log.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Observability {
    /// The least severe level that is written; changes without a restart.
    pub log_level: LogLevel,
    /// Which requests get a line of the log, at their end.
    pub access_log: AccessLog,
}

/// Which requests get a line: all that are answered with 500 or above, and of the others these.
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
