//! JSON log lines, at a level that the policy changes at run time.

use codecrucible_contract::LogLevel;
use std::io::Write;
use std::sync::{Arc, OnceLock};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Changes the level.
#[derive(Clone)]
pub struct LogControl {
    handle: Option<reload::Handle<LevelFilter, tracing_subscriber::Registry>>,
}

/// Opens what a line is written to.
type Open = dyn Fn() -> Box<dyn Write> + Send + Sync;

/// Where the log goes, once that is known.
static LOG: OnceLock<Arc<Open>> = OnceLock::new();

/// Starts logging to standard output at level `info`. A second call changes nothing, which suits tests.
pub fn install() -> LogControl {
    install_to(|| Box::new(std::io::stdout()))
}

/// The same to what is opened for each line.
pub fn install_to(open: impl Fn() -> Box<dyn Write> + Send + Sync + 'static) -> LogControl {
    let (filter, handle) = reload::Layer::new(LevelFilter::INFO);
    let open = Arc::clone(LOG.get_or_init(|| Arc::new(open)));
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(move || open());
    let installed = tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok();
    LogControl { handle: installed.then_some(handle) }
}

/// Now, as lines say it.
pub(super) fn timestamp() -> String {
    let mut text = String::new();
    // Into memory it does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// Writes a line that is whole, whatever the level is.
pub(super) fn write_line(line: &[u8]) {
    if let Some(open) = LOG.get() {
        // Where the log cannot be written there is nobody to tell.
        let _ = open().write_all(line);
    }
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
