//! What the operator says about itself.

mod metrics;
mod server;

pub(crate) use metrics::Metrics;
pub(crate) use server::serve;

/// JSON lines on standard output; the environment variable `RUST_LOG` sets the level.
pub(crate) fn install_logging() {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing_subscriber::filter::LevelFilter::INFO.into())
        .from_env_lossy();
    let _ = tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).try_init();
}
