//! JSON log lines, at a level that the policy changes at run time.

use super::gathered_lines::GatheredLines;
use codecrucible_contract::LogLevel;
use prometheus::IntCounter;
use std::io::Write;
use std::sync::OnceLock;
use std::time::Duration;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
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

/// How long the last lines may take, milliseconds.
const FLUSH_MS: u64 = 1_000;

/// Where all lines are left, once it is known where they go.
static LINES: OnceLock<GatheredLines> = OnceLock::new();

/// Starts logging to standard output at level `info`. A second call changes nothing, which suits tests.
pub fn install() -> std::io::Result<LogControl> {
    install_to(|| Box::new(std::io::stdout()))
}

/// The same to what is opened for some lines at a time.
pub fn install_to(open: impl Fn() -> Box<dyn Write> + Send + 'static) -> std::io::Result<LogControl> {
    if LINES.get().is_none() {
        let lines = GatheredLines::start(open, lost_lines().map_err(std::io::Error::other)?)?;
        LINES.get_or_init(|| lines);
    }
    let (filter, handle) = reload::Layer::new(LevelFilter::INFO);
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(Leaving);
    let installed = tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok();
    Ok(LogControl { handle: installed.then_some(handle) })
}

/// Waits when it goes, a second at most, for what has not been written yet; if it is not read, there is nobody to tell.
pub struct LastLines;

impl Drop for LastLines {
    fn drop(&mut self) {
        if let Some(lines) = LINES.get() {
            lines.flush(Duration::from_millis(FLUSH_MS));
        }
    }
}

/// Leaves each line to be written soon; those below warnings can be spared.
struct Leaving;

impl<'a> MakeWriter<'a> for Leaving {
    type Writer = Left;

    fn make_writer(&'a self) -> Left {
        Left { is_spare: false }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Left {
        Left { is_spare: *meta.level() > Level::WARN }
    }
}

/// Where a line is left, which is one write.
struct Left {
    is_spare: bool,
}

impl Write for Left {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        leave_line(line, self.is_spare);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Now, as lines say it.
pub(super) fn timestamp() -> String {
    let mut text = String::new();
    // Into memory it does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// Leaves a line that is whole to be written soon, whatever the level is. Those that can be spared give way to others.
pub(super) fn leave_line(line: &[u8], is_spare: bool) {
    if let Some(lines) = LINES.get() {
        lines.push(line, is_spare);
    }
}

/// Lines that were lost since the start; none, as long as nothing is logged.
pub(super) fn lost_lines() -> prometheus::Result<IntCounter> {
    let new = || {
        let help =
            "Lines of the log that are missing because it was not read in time, or could not be written.";
        IntCounter::new("codecrucible_log_lines_lost_total", help)
    };
    LINES.get().map_or_else(new, |lines| Ok(lines.lost().clone()))
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
