//! JSON log lines on standard output, at a level that the policy changes at run time.

use codecrucible_contract::LogLevel;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Changes the level.
#[derive(Clone)]
pub struct LogControl {
    handle: Option<reload::Handle<LevelFilter, tracing_subscriber::Registry>>,
}

/// Starts logging at level `info`. A second call changes nothing, which suits tests.
pub fn install() -> LogControl {
    let (filter, handle) = reload::Layer::new(LevelFilter::INFO);
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true);
    let installed = tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok();
    LogControl { handle: installed.then_some(handle) }
}

impl LogControl {
    /// Sets the least severe level that is written.
    pub fn set(&self, level: LogLevel) {
        let filter = match level {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        };
        if let Some(handle) = &self.handle {
            let _ = handle.reload(filter);
        }
    }
}
