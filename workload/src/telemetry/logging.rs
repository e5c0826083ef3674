//! JSON log lines, at a level that the policy changes at run time.

use super::gathered_lines::GatheredLines;
use codecrucible_contract::LogLevel;
use std::io::Write;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
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
pub(super) type Open = dyn Fn() -> Box<dyn Write> + Send + Sync;

/// How long the last lines may take, milliseconds.
const FLUSH_MS: u64 = 1_000;

/// Where the log goes, once that is known.
static LOG: OnceLock<Arc<Open>> = OnceLock::new();
/// Where lines wait of which there is one for each request; nowhere, if there can be no thread that writes them.
static GATHERED: OnceLock<Option<GatheredLines>> = OnceLock::new();

/// Starts logging to standard output at level `info`. A second call changes nothing, which suits tests.
pub fn install() -> LogControl {
    install_to(|| Box::new(std::io::stdout()))
}

/// The same to what is opened for each line.
pub fn install_to(open: impl Fn() -> Box<dyn Write> + Send + Sync + 'static) -> LogControl {
    let (filter, handle) = reload::Layer::new(LevelFilter::INFO);
    let open = Arc::clone(LOG.get_or_init(|| Arc::new(open)));
    GATHERED.get_or_init(|| GatheredLines::start(Arc::clone(&open)).ok());
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

/// Leaves a line that is whole to be written soon, whatever the level is. False if it is lost.
pub(super) fn leave_line(line: &[u8]) -> bool {
    match GATHERED.get() {
        Some(Some(lines)) => lines.push(line),
        Some(None) => false,
        // Where nothing is logged nothing is lost.
        None => true,
    }
}

impl LogControl {
    /// Waits for what has not been written yet. For when there are no more requests.
    pub fn finish(&self) {
        if let Some(Some(lines)) = GATHERED.get() {
            lines.flush(Duration::from_millis(FLUSH_MS));
        }
    }

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
