//! What the operator says about itself.

mod metrics;
mod server;

pub(crate) use metrics::Metrics;
pub(crate) use server::serve;

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// JSON lines on standard output; the environment variable `RUST_LOG` sets levels, such as `debug` or
/// `info,codecrucible_operator=debug`.
pub(crate) fn install_logging() {
    let asked_for = std::env::var("RUST_LOG").ok().and_then(|levels| levels.parse::<Targets>().ok());
    let levels = asked_for.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true);
    let _ = tracing_subscriber::registry().with(lines.with_filter(levels)).try_init();
}
