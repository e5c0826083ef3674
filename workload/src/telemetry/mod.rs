//! What the service says about itself: log lines and metrics.

mod limits;
mod logging;
mod metrics;
mod served;

pub use limits::LimitMetrics;
pub use logging::{LogControl, install as install_logging};
pub use metrics::Metrics;
pub use served::ServedRequests;
