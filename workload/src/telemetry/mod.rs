//! What the service says about itself: log lines and metrics.

mod logging;
mod metrics;
mod served;

pub use logging::{LogControl, install as install_logging};
pub use metrics::Metrics;
pub use served::ServedRequests;
