//! What the replicas tell of themselves.

use serde::{Deserialize, Serialize};

/// What the replicas log.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Observability {
    /// The least severe level that is written; changes without a restart.
    pub log_level: LogLevel,
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
