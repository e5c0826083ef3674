//! What the program adds to the time until an answer, at half of the load that it has to take for a moment; whether it answers all of a steady load and of a burst; and
//! what an open stream takes of memory. With everything on, beside the backend asked directly, and the floor, in the same run.
#![allow(clippy::print_stdout, reason = "benchmarks print their figures")]

use anyhow::ensure;
use codecrucible_benches::{Ask, Backend, Extent, Load, Program, Server, Target, floor, metric, policy_of};
use std::net::SocketAddr;
use std::time::Duration;

/// Processor of the backend, and of the floor.
const PROCESSOR: usize = 1;
const FLOOR_PROCESSOR: usize = 0;
/// How long a steady load lasts, seconds.
const STEADY_SECONDS: u32 = 10;
/// Turns that the program, the floor and the backend alone take: so many that a moment in which the machine is slow says little.
const TURNS: usize = 9;
/// A load that two processors must take for long, and one that they must take for a second, requests a second.
const SUSTAINED: u32 = 1_000;
const BURST: u32 = 5_000;
/// What may be added at half load, microseconds.
const ADDED_MEDIAN_US: f64 = 150.0;
const ADDED_P99_US: f64 = 1_000.0;
/// Streams that are opened first: they bring what all share, such as threads and the allocator's pages, which is not a stream's.
const FIRST_STREAMS: usize = 100;
/// Streams that are opened then, and what each may take, bytes.
const STREAMS: usize = 1_000;
const STREAM_BYTES: f64 = 60.0 * 1024.0;

fn main() -> anyhow::Result<()> {
    let backend = Server::start(PROCESSOR, Backend::serve)?.address;
    let (program, to_program) = started(backend)?;
    let to_backend = Target { address: backend, token: "x".into() };
    let floor = Server::start(FLOOR_PROCESSOR, move || floor(backend))?.address;
    let to_floor = Target { address: floor, token: "x".into() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let load = Load::new(Ask::Chat, 200);

    let half = BURST / 2;
    let (mut with, mut least, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let turns = [(&to_program, &mut with), (&to_floor, &mut least), (&to_backend, &mut without)];
        for (target, times) in turns {
            times.extend(runtime.block_on(load.steady(target, half, Duration::from_secs(2)))?);
        }
    }
    for (name, part, budget) in [("median", 0.5, ADDED_MEDIAN_US), ("99th percentile", 0.99, ADDED_P99_US)] {
        let [with, least, without] =
            [&mut with, &mut least, &mut without].map(|times| percentile(times, part));
        let (added, least) = (with - without, least - without);
        println!(
            "{half} a second, {name}: {with:.0} µs, backend alone {without:.0} µs, added {added:.0} µs (budget {budget:.0}), the floor adds {least:.0} µs"
        );
    }
    for (name, rate, seconds) in [("sustained", SUSTAINED, STEADY_SECONDS), ("burst", BURST, 1)] {
        let mut times =
            runtime.block_on(load.steady(&to_program, rate, Duration::from_secs(seconds.into())))?;
        let (count, p99) = (times.len(), percentile(&mut times, 0.99));
        println!(
            "{name}: {count} requests at {rate} a second, all answered, 99 % within {:.1} ms",
            p99 / 1e3
        );
    }
    drop(program);
    streams(backend, &runtime)
}

/// Of a program that has done nothing else: what a burst leaves free for a while would be filled first.
fn streams(backend: SocketAddr, runtime: &tokio::runtime::Runtime) -> anyhow::Result<()> {
    let (program, target) = started(backend)?;
    let _first = runtime.block_on(Load::new(Ask::OpenStream, 200).open(&target, FIRST_STREAMS))?;
    let resident = || metric(&program.metrics()?, "process_resident_memory_bytes");
    let before = resident()?;
    let open = runtime.block_on(Load::new(Ask::OpenStream, 200).open(&target, STREAMS))?;
    let each = (resident()? - before) / open.len() as f64;
    println!(
        "{} open streams: {:.1} KB each (budget {:.0} KB)",
        open.len(),
        each / 1024.0,
        STREAM_BYTES / 1024.0
    );
    ensure!(open.len() == STREAMS, "not all are open");
    Ok(())
}

fn started(backend: SocketAddr) -> anyhow::Result<(Program, Target)> {
    let program = Program::start(&policy_of(backend, Extent::Everything))?;
    let target =
        Target { address: program.public.trim_start_matches("http://").parse()?, token: program.token()? };
    Ok((program, target))
}

/// Of times in microseconds.
fn percentile(times: &mut [f64], part: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    let index = ((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1));
    times.get(index).copied().unwrap_or_default()
}
