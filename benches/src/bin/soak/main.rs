//! The program under all kinds of requests at once, for minutes: its memory, descriptors and tasks, which must not grow. Writes a picture of them.
#![allow(clippy::print_stdout, reason = "it prints its figures")]

mod graph;
mod load;

use anyhow::{Context as _, bail, ensure};
use codecrucible_benches::{Backend, Extent, Program, Server, metric, policy_of};
use codecrucible_tests::paths;
use graph::Curve;
use load::Load;
use std::time::{Duration, Instant};

/// How long it lasts unless it is told otherwise, minutes.
const MINUTES: u64 = 10;
/// Between two looks, seconds.
const LOOK_SECONDS: u64 = 2;
/// What the last quarter may have more than the one before, as a part of it.
const MOST_GROWTH: f64 = 0.1;
/// Processor of the backend.
const PROCESSOR: usize = 1;
/// Fewer looks say nothing.
const LEAST_LOOKS: usize = 12;

fn main() -> anyhow::Result<()> {
    let minutes =
        std::env::args().nth(1).map_or(Ok(MINUTES), |minutes| minutes.parse()).context("minutes")?;
    let backend = Server::start(PROCESSOR, Backend::serve)?.address;
    let program = Program::start(&policy_of(backend, Extent::Kept))?;
    let load = Load::start(&program.public, &program.token()?);
    let begin = Instant::now();
    let mut curves = [
        Curve::new("memory, MB", "process_resident_memory_bytes", 1e6),
        Curve::new("descriptors", "process_open_fds", 1.0),
        Curve::new("tasks", "codecrucible_tasks", 1.0),
    ];
    while begin.elapsed() < Duration::from_secs(60 * minutes) {
        std::thread::sleep(Duration::from_secs(LOOK_SECONDS));
        let metrics = program.metrics()?;
        for curve in &mut curves {
            curve.add(begin.elapsed(), metric(&metrics, curve.metric)?);
        }
    }
    let requests = load.stop();
    println!("{requests}");
    if let Some(failure) = &requests.first_failure {
        bail!("each is to be answered as it should be; the first that was not: {failure}");
    }
    let title = format!("{minutes} minutes of everything at once: {requests}");
    let path = paths::repository().join("docs/soak.svg");
    std::fs::write(&path, graph::drawing(&title, &curves))?;
    println!("drawn in {}", path.display());
    for curve in &curves {
        ensure!(curve.length() >= LEAST_LOOKS, "it was too short");
        let (before, last) = curve.last_quarters();
        println!("{}: {before:.1} in the third quarter, {last:.1} in the last", curve.name);
        ensure!(last <= before * (1.0 + MOST_GROWTH), "{} grow", curve.name);
    }
    Ok(())
}
