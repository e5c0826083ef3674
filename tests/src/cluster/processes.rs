//! Long-running processes that outlive the command that started them, and are only ever ended by their id.
//!
//! A process's file holds its id and its start time: an id that the system gave to somebody else in the
//! meantime is not taken for ours.

use super::Place;
use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take to end before it is killed, seconds.
const END_SECONDS: u64 = 10;
/// Pause between two looks, milliseconds.
const PAUSE_MS: u64 = 20;

/// Where a process writes what it prints.
pub(super) fn log_file(place: &Place, name: &str) -> PathBuf {
    place.file(&format!("{name}.log"))
}

fn pid_file(place: &Place, name: &str) -> PathBuf {
    place.file(&format!("{name}.pid"))
}

/// Starts a command in a session of its own.
pub(super) fn start(place: &Place, name: &str, command: &Command) -> anyhow::Result<()> {
    let log = File::create(log_file(place, name))?;
    // Both setsid and nsenter replace themselves, so the id is the program's own.
    let mut detached = Command::new("setsid");
    detached.arg(command.get_program()).args(command.get_args()).current_dir(&place.state);
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            detached.env(name, value);
        }
    }
    let child = detached
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("{name} does not start"))?;
    let started = start_time(child.id()).with_context(|| format!("{name} ended at once"))?;
    fs::write(pid_file(place, name), format!("{} {started}", child.id()))?;
    Ok(())
}

/// The id of a process that still is the one that was started.
pub(super) fn pid(place: &Place, name: &str) -> Option<u32> {
    let (pid, started) = parse(&fs::read_to_string(pid_file(place, name)).ok()?)?;
    (start_time(pid)? == started).then_some(pid)
}

/// Whether it runs.
pub(super) fn is_alive(place: &Place, name: &str) -> bool {
    pid(place, name).is_some()
}

/// Ends a process, gently first.
pub(super) fn stop(place: &Place, name: &str) {
    if let Some(pid) = pid(place, name) {
        end(pid);
    }
}

/// Ends a process by its id, gently first.
pub(super) fn end(pid: u32) {
    let Some(started) = start_time(pid) else { return };
    let Ok(raw) = i32::try_from(pid) else { return };
    let is_there = || start_time(pid) == Some(started);
    let _ = kill(Pid::from_raw(raw), Signal::SIGTERM);
    let begin = Instant::now();
    while is_there() && begin.elapsed() < Duration::from_secs(END_SECONDS) {
        std::thread::sleep(Duration::from_millis(PAUSE_MS));
    }
    if is_there() {
        let _ = kill(Pid::from_raw(raw), Signal::SIGKILL);
    }
}

/// Ends a process by its id at once.
pub(super) fn kill_now(pid: u32) {
    if let Ok(raw) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(raw), Signal::SIGKILL);
    }
}

fn parse(text: &str) -> Option<(u32, u64)> {
    let (pid, started) = text.trim().split_once(' ')?;
    Some((pid.parse().ok()?, started.parse().ok()?))
}

/// When a process started, in ticks since the machine did; `None` for one that ended, also if its parent
/// has not noticed yet.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; the fields are counted after its end.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let (state, started) = (fields.first()?, fields.get(19)?);
    if *state == "Z" || *state == "X" { None } else { started.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_has_a_start_time_and_a_bad_file_has_none() {
        assert!(start_time(std::process::id()).is_some());
        assert_eq!(parse("12 34\n"), Some((12, 34)));
        assert_eq!(parse("12"), None);
        assert_eq!(parse("x y"), None);
    }

    #[test]
    fn an_id_that_was_given_away_is_not_ours() {
        let place = Place { name: "t".into(), state: std::env::temp_dir() };
        let name = format!("codecrucible-test-{}", std::process::id());
        fs::write(pid_file(&place, &name), format!("{} 1", std::process::id())).unwrap();
        assert_eq!(pid(&place, &name), None);
        fs::remove_file(pid_file(&place, &name)).unwrap();
    }
}
