//! Lines of the access log on their way out. Requests leave them here; a thread of its own writes what has gathered every few milliseconds, so that no
//! answer waits for its line, and a log that nobody reads holds nobody up.

use super::logging::{Open, timestamp};
use std::io::Write as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long lines gather, milliseconds. Who is killed meanwhile takes as many with it.
const GATHER_MS: u64 = 5;
/// Most that waits to be written, bytes. What comes beyond is lost, and counted.
const MAX_WAITING_BYTES: usize = 1 << 20;
/// What is kept of a buffer for the next lines, bytes.
const KEPT_BYTES: usize = 64 << 10;
/// How the thread is called.
pub const ACCESS_LOG_THREAD: &str = "access-log";

/// The lines, and the thread that writes them. It lives as long as the process.
pub(super) struct GatheredLines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    lines: Mutex<Lines>,
    has_lines: Condvar,
    is_written: Condvar,
}

#[derive(Default)]
struct Lines {
    waiting: Vec<u8>,
    lost: u64,
    /// The thread has nothing to do, and has to be woken.
    is_idle: bool,
    is_writing: bool,
}

impl GatheredLines {
    /// Starts the thread, which opens what it writes to each time.
    pub(super) fn start(open: Arc<Open>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writing = Arc::clone(&shared);
        std::thread::Builder::new()
            .name(ACCESS_LOG_THREAD.into())
            .spawn(move || writing.write_for_ever(&open))?;
        Ok(Self(shared))
    }

    /// Leaves a line, which ends with a newline. False if there is no room for it.
    pub(super) fn push(&self, line: &[u8]) -> bool {
        let mut lines = self.0.lines();
        if lines.waiting.len() + line.len() > MAX_WAITING_BYTES {
            lines.lost += 1;
            return false;
        }
        lines.waiting.extend_from_slice(line);
        if std::mem::take(&mut lines.is_idle) {
            self.0.has_lines.notify_one();
        }
        true
    }

    /// Waits until all lines are written, no longer than that. Whether they are.
    pub(super) fn flush(&self, longest: Duration) -> bool {
        let is_under_way = |lines: &mut Lines| lines.is_writing || !lines.waiting.is_empty();
        let lines = self.0.is_written.wait_timeout_while(self.0.lines(), longest, is_under_way);
        !lines.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Shared {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_for_ever(&self, open: &Arc<Open>) {
        let mut text = Vec::new();
        loop {
            let has_nothing = |lines: &mut Lines| {
                lines.is_idle = lines.waiting.is_empty();
                lines.is_idle
            };
            let lines = self.has_lines.wait_while(self.lines(), has_nothing);
            drop(lines.unwrap_or_else(PoisonError::into_inner));
            std::thread::sleep(Duration::from_millis(GATHER_MS));
            let lost = self.take(&mut text);
            if lost > 0 {
                text.extend_from_slice(lost_lines(lost).as_bytes());
            }
            // Where the log cannot be written there is nobody to tell.
            let _ = open().write_all(&text);
            text.clear();
            text.shrink_to(KEPT_BYTES);
            self.lines().is_writing = false;
            self.is_written.notify_all();
        }
    }

    /// All that waits, and how many lines were lost beside it.
    fn take(&self, text: &mut Vec<u8>) -> u64 {
        let mut lines = self.lines();
        std::mem::swap(&mut lines.waiting, text);
        lines.is_writing = true;
        std::mem::take(&mut lines.lost)
    }
}

/// The line that stands for those that are missing.
fn lost_lines(count: u64) -> String {
    let (timestamp, message) = (timestamp(), "lines of the access log are lost: they were not read in time");
    let line = serde_json::json!({"timestamp": timestamp, "level": "WARN", "message": message, "lines": count, "target": "access"});
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::mpsc::{Receiver, Sender, channel};

    const PATIENCE: Duration = Duration::from_secs(15);

    /// A log that says what is written to it, and takes no more than it is told to.
    struct Log {
        written: Sender<String>,
        may_write: Arc<Mutex<Receiver<()>>>,
    }

    impl Write for Log {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            let _ = self.written.send(String::from_utf8_lossy(text).into_owned());
            let _ = self.may_write.lock().unwrap().recv();
            Ok(text.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn log() -> (GatheredLines, Receiver<String>, Sender<()>) {
        let ((written, read), (go_on, may_write)) = (channel(), channel());
        let may_write = Arc::new(Mutex::new(may_write));
        let open = move || -> Box<dyn Write> {
            Box::new(Log { written: written.clone(), may_write: Arc::clone(&may_write) })
        };
        (GatheredLines::start(Arc::new(open)).unwrap(), read, go_on)
    }

    #[test]
    fn lines_are_written_whole_and_in_their_order() {
        let (lines, read, go_on) = log();
        drop(go_on);
        let expected: String = (0..1_000).map(|number| format!("{number}\n")).collect();
        assert!(expected.lines().all(|line| lines.push(format!("{line}\n").as_bytes())));
        assert!(lines.flush(PATIENCE));
        assert_eq!(read.try_iter().collect::<String>(), expected);
        assert!(lines.push(b"last\n") && lines.flush(PATIENCE), "it is woken again");
        assert_eq!(read.try_iter().collect::<String>(), "last\n");
    }

    #[test]
    fn a_log_that_nobody_reads_holds_nobody_up_and_says_how_many_lines_are_missing() {
        let (lines, read, go_on) = log();
        assert!(lines.push(b"first\n"));
        assert_eq!(read.recv_timeout(PATIENCE).unwrap(), "first\n");
        // It is being written, and is not read.
        assert!(!lines.flush(Duration::ZERO));
        let line = [b'x'; 1 << 10];
        let taken = (0..2_000).filter(|_| lines.push(&line)).count();
        assert_eq!(taken, MAX_WAITING_BYTES / line.len());
        drop(go_on);
        assert!(lines.flush(PATIENCE));
        let text: String = read.try_iter().collect();
        let told: serde_json::Value = serde_json::from_str(&text[taken * line.len()..]).unwrap();
        assert_eq!(told["lines"], 2_000 - taken);
    }
}
