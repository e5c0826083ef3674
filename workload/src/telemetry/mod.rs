//! What the service says about itself: log lines, metrics and traces.

mod access_log;
mod backends;
mod cache;
mod correlation;
mod gathered_lines;
mod handles;
mod limits;
mod logging;
mod metrics;
mod models;
mod requests;
mod served;
mod traces;
mod trouble;
mod used_tokens;

pub use access_log::AccessLine;
pub use backends::{BackendMetrics, BackendSight};
pub use cache::{AnswerCounters, CacheMetrics};
pub use correlation::{Correlation, REQUEST_ID, SpanIds};
pub use gathered_lines::LOG_THREAD;
pub use limits::{DecisionCounters, LimitMetrics};
pub use logging::{LastLines, LogControl, install as install_logging, install_to as install_logging_to};
pub use metrics::Metrics;
pub use models::{AttemptCounters, ModelMetrics, TokenCounters};
pub use requests::RequestMetrics;
pub use served::ServedRequests;
pub use traces::{AttemptSpan, RequestSpans, Traces};
pub use trouble::TroubleNote;
pub use used_tokens::{TokenNote, UsedTokens};
