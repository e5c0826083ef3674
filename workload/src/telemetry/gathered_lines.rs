//! Lines of the log on their way out. Whoever has one leaves it here; a thread of its own writes what has gathered every few milliseconds, so that no
//! answer waits for its line, and a log that nobody reads holds nobody up.

use super::logging::timestamp;
use prometheus::IntCounter;
use std::io::{ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

/// How long lines gather, milliseconds. A process that is killed loses those of so long.
const GATHER_MS: u64 = 5;
/// Most that waits to be written, bytes, beside what is being written, which may be as much. What comes beyond is lost, and counted.
const MAX_WAITING_BYTES: usize = 4 << 20;
/// The same for lines that can be spared, so that there is room for those of errors.
const MAX_SPARE_BYTES: usize = 3 << 20;
/// With so much no more is gathered, bytes.
const ENOUGH_BYTES: usize = 256 << 10;
/// What is kept of a buffer for the next lines, bytes.
const KEPT_BYTES: usize = 64 << 10;
/// How the thread is called.
pub const LOG_THREAD: &str = "log";

/// The lines, and the thread that writes them. It lives as long as the process.
pub(super) struct GatheredLines(Arc<Shared>);

struct Shared {
    lines: Mutex<Lines>,
    has_lines: Condvar,
    is_written: Condvar,
    lost: IntCounter,
}

#[derive(Default)]
struct Lines {
    waiting: Vec<u8>,
    is_writing: bool,
    /// Lines that were lost since that was last told of.
    lost: u64,
}

impl GatheredLines {
    /// Starts the thread, which opens what it writes to each time, and counts what is lost.
    pub(super) fn start(
        open: impl Fn() -> Box<dyn Write> + Send + 'static,
        lost: IntCounter,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            lines: Mutex::default(),
            has_lines: Condvar::new(),
            is_written: Condvar::new(),
            lost,
        });
        let writing = Arc::clone(&shared);
        std::thread::Builder::new().name(LOG_THREAD.into()).spawn(move || writing.write_for_ever(&open))?;
        Ok(Self(shared))
    }

    /// Leaves a line, which ends with a newline. Where there is no room for it, it is lost.
    pub(super) fn push(&self, line: &[u8], is_spare: bool) {
        let most = if is_spare { MAX_SPARE_BYTES } else { MAX_WAITING_BYTES };
        let mut lines = self.0.lines();
        let (before, after) = (lines.waiting.len(), lines.waiting.len() + line.len());
        if after > most {
            lines.lost += 1;
            self.0.lost.inc();
            return;
        }
        lines.waiting.extend_from_slice(line);
        if before == 0 || (before < ENOUGH_BYTES && after >= ENOUGH_BYTES) {
            self.0.has_lines.notify_one();
        }
    }

    /// Lines that were lost since the start.
    pub(super) fn lost(&self) -> &IntCounter {
        &self.0.lost
    }

    /// Waits until all lines are written, but not for longer than `longest`. Whether they are.
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

    fn write_for_ever(&self, open: &impl Fn() -> Box<dyn Write>) {
        let (mut text, mut is_broken_off) = (Vec::new(), false);
        loop {
            let lost = self.gather(&mut text);
            if lost > 0 {
                text.extend_from_slice(lost_lines(lost).as_bytes());
            }
            let mut log = open();
            // What was broken off is not to be read as the beginning of the next line.
            let goes_on = !is_broken_off || write(&mut *log, b"\n") > 0;
            let count = if goes_on { write(&mut *log, &text) } else { 0 };
            if count > 0 {
                is_broken_off = text[count - 1] != b'\n';
            }
            self.note_unwritten(&text[count..], lost);
            self.lines().is_writing = false;
            self.is_written.notify_all();
            text.clear();
            text.shrink_to(KEPT_BYTES);
        }
    }

    /// What could not be written is lost, and to be told with the next line, as is what was to be told now.
    fn note_unwritten(&self, rest: &[u8], told: u64) {
        if rest.is_empty() {
            return;
        }
        let newlines = rest.iter().filter(|byte| **byte == b'\n').count() as u64;
        let lost = newlines - u64::from(told > 0);
        self.lost.inc_by(lost);
        self.lines().lost += lost + told;
    }

    /// All that waits, once there is something and it had time to become more; and how many lines were lost beside it.
    fn gather(&self, text: &mut Vec<u8>) -> u64 {
        let lines = self.has_lines.wait_while(self.lines(), |lines| lines.waiting.is_empty());
        let lines = lines.unwrap_or_else(PoisonError::into_inner);
        let is_little = |lines: &mut Lines| lines.waiting.len() < ENOUGH_BYTES;
        let lines = self.has_lines.wait_timeout_while(lines, Duration::from_millis(GATHER_MS), is_little);
        let (mut lines, _) = lines.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut lines.waiting, text);
        lines.is_writing = true;
        std::mem::take(&mut lines.lost)
    }
}

/// Writes as much as can be, however slowly it is read, and gives how much that was, bytes.
fn write(log: &mut dyn Write, text: &[u8]) -> usize {
    let mut count = 0;
    while count < text.len() {
        match log.write(&text[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(Duration::from_millis(GATHER_MS)),
            Err(_) => break,
        }
    }
    count
}

/// The line that stands for those that are missing.
fn lost_lines(count: u64) -> String {
    let (timestamp, message) = (timestamp(), "lines of the log are lost: they were not read in time");
    let line = serde_json::json!({"timestamp": timestamp, "level": "WARN", "message": message, "lines": count, "target": "log"});
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    const PATIENCE: Duration = Duration::from_secs(15);

    /// A log that says what it is given, and does with it what it is told to; with all of it the same, once there is nobody to tell.
    struct Log {
        given: Sender<String>,
        outcomes: Arc<Mutex<Receiver<std::io::Result<usize>>>>,
    }

    impl Write for Log {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            let _ = self.given.send(String::from_utf8_lossy(text).into_owned());
            self.outcomes.lock().unwrap().recv().unwrap_or(Ok(text.len()))
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn log() -> (GatheredLines, Receiver<String>, Sender<std::io::Result<usize>>) {
        let ((given, read), (tell, outcomes)) = (channel(), channel());
        let outcomes = Arc::new(Mutex::new(outcomes));
        let open = move || -> Box<dyn Write> {
            Box::new(Log { given: given.clone(), outcomes: Arc::clone(&outcomes) })
        };
        let lost = IntCounter::new("lost", "lost").unwrap();
        (GatheredLines::start(open, lost).unwrap(), read, tell)
    }

    #[test]
    fn lines_of_many_threads_are_written_whole_and_each_threads_in_its_order() {
        let (lines, read, tell) = log();
        drop(tell);
        std::thread::scope(|scope| {
            for name in ["one", "two"] {
                let lines = &lines;
                scope.spawn(move || {
                    (0..1_000).for_each(|number| lines.push(format!("{name} {number}\n").as_bytes(), true));
                });
            }
        });
        assert!(lines.flush(PATIENCE));
        let pieces: Vec<_> = read.try_iter().collect();
        assert!(pieces.iter().all(|piece| piece.ends_with('\n')));
        let text = pieces.concat();
        for name in ["one", "two"] {
            let numbers = text.lines().filter_map(|line| line.strip_prefix(name)?.trim().parse::<u32>().ok());
            assert!(numbers.eq(0..1_000), "{name}");
        }
        lines.push(b"last\n", true);
        assert!(lines.flush(PATIENCE), "it is woken again");
        assert_eq!((read.recv_timeout(PATIENCE).unwrap().as_str(), lines.lost().get()), ("last\n", 0));
    }

    #[test]
    fn a_log_that_nobody_reads_holds_nobody_up_and_says_how_many_lines_are_missing() {
        let (lines, read, tell) = log();
        lines.push(b"first\n", true);
        assert_eq!(read.recv_timeout(PATIENCE).unwrap(), "first\n");
        // It is being written, and is not read.
        assert!(!lines.flush(Duration::ZERO));
        let (spare, needed) =
            ([[b'x'; 1023].as_slice(), b"\n"].concat(), [[b'y'; 1023].as_slice(), b"\n"].concat());
        (0..5_000).for_each(|_| lines.push(&spare, true));
        (0..5_000).for_each(|_| lines.push(&needed, false));
        drop(tell);
        assert!(lines.flush(PATIENCE));
        let text: String = read.try_iter().collect();
        let begin_with = |first| text.lines().filter(|line| line.starts_with(first)).count();
        assert_eq!((begin_with('x'), begin_with('y')), (3 << 10, 1 << 10), "errors find room");
        let told: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!((&told["lines"], lines.lost().get()), (&(10_000 - (4 << 10)).into(), 10_000 - (4 << 10)));
    }

    #[test]
    fn lines_that_cannot_be_written_are_told_of_and_do_not_spoil_the_next_one() {
        let (lines, read, tell) = log();
        let outcomes =
            [Ok(5), Err(ErrorKind::Interrupted), Err(ErrorKind::WouldBlock), Err(ErrorKind::BrokenPipe)];
        outcomes.into_iter().for_each(|outcome| tell.send(outcome.map_err(Into::into)).unwrap());
        drop(tell);
        // Two lines that are given at once.
        lines.push(b"one\ntwo\n", false);
        assert!(lines.flush(PATIENCE));
        assert_eq!((read.try_iter().count(), lines.lost().get()), (4, 1));
        lines.push(b"three\n", false);
        assert!(lines.flush(PATIENCE));
        let text: String = read.try_iter().collect();
        let told = text.strip_prefix("\nthree\n").unwrap();
        let told: serde_json::Value = serde_json::from_str(told).unwrap();
        assert_eq!((&told["lines"], lines.lost().get()), (&1.into(), 1));
    }
}
