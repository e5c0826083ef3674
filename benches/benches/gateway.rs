//! Processor time of the gateway for a request, beside the floor in the same run: bare, and with everything on.
#![allow(clippy::print_stdout, reason = "benchmarks print their figures")]

use codecrucible_benches::{
    Ask, Backend, Extent, Load, Server, Target, floor, median, pin_to, start_product, time_beside,
};
use codecrucible_workload::huge_pages::do_without;
use codecrucible_workload::telemetry::install_logging_to;
use std::fs::File;

/// The workload's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rounds; in each, product and floor take turns.
const ROUNDS: usize = 15;
/// Processor of what is measured; everything else runs on the other one.
const MEASURED_PROCESSOR: usize = 0;
const OTHER_PROCESSOR: usize = 1;

/// One line of the table: the work, what of the product is on, the status of the answers, how many in a round, and how many times the
/// floor it may cost.
type Work = (&'static str, Ask, Extent, u16, usize, f64);

const TABLE: [Work; 11] = [
    ("chat, 273 bytes, bare", Ask::Chat, Extent::Bare, 200, 2_000, 1.6),
    ("chat, 273 bytes, everything on", Ask::Chat, Extent::Everything, 200, 2_000, 3.2),
    ("prompt of 33 KB, bare", Ask::LongPrompt, Extent::Bare, 200, 1_000, 1.35),
    ("prompt of 33 KB, everything on", Ask::LongPrompt, Extent::Everything, 200, 1_000, 2.4),
    ("stream, 64 chunks, bare", Ask::Stream, Extent::Bare, 200, 300, 1.15),
    ("stream, 64 chunks, everything on", Ask::Stream, Extent::Everything, 200, 300, 1.35),
    ("kept in memory, everything on", Ask::Chat, Extent::Kept, 200, 2_000, 2.1),
    ("refused, 401", Ask::Stranger, Extent::Everything, 401, 2_000, 1.3),
    ("refused, 403", Ask::Chat, Extent::Forbidden, 403, 2_000, 1.3),
    ("refused, 413, each over a new connection", Ask::TooLong, Extent::Everything, 413, 1_000, 1.3),
    ("refused, 429", Ask::Chat, Extent::Exhausted, 429, 2_000, 1.3),
];

fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let nowhere: &'static File = Box::leak(Box::new(File::options().write(true).open("/dev/null")?));
    // As the program does, and its thread like all that is not measured.
    do_without();
    pin_to(OTHER_PROCESSOR);
    install_logging_to(move || Box::new(nowhere))?;
    let backend = Server::start(OTHER_PROCESSOR, Backend::serve)?.address;
    let floor = Server::start(MEASURED_PROCESSOR, move || floor(backend))?;
    let to_floor = Target { address: floor.address, token: "x".into() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Only the lines that are named, if any is; cargo says `--bench` as well.
    let named: Vec<_> = std::env::args().skip(1).filter(|name| !name.starts_with("--")).collect();
    for (name, ask, extent, status, requests, budget) in TABLE {
        if !named.is_empty() && !named.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let (gateway, to_gateway) = start_product(MEASURED_PROCESSOR, backend, extent)?;
        let (load, of_floor) = (Load::new(ask, status), Load::of_floor(ask)?);
        if status == 429 {
            // The one that is admitted.
            let _ = runtime.block_on(Load::new(ask, 200).send(&to_gateway, 1));
        }
        let cost = |load: &Load, server: &Server, target: &Target| -> anyhow::Result<f64> {
            let before = server.processor_time()?;
            runtime.block_on(load.send(target, requests))?;
            Ok((server.processor_time()? - before).as_secs_f64() * 1e6 / requests as f64)
        };
        let mut pairs = Vec::new();
        let beside = time_beside()?;
        for round in 0..=ROUNDS {
            let pair = (cost(&load, &gateway, &to_gateway)?, cost(&of_floor, &floor, &to_floor)?);
            // The first round warms up.
            if round > 0 {
                pairs.push(pair);
            }
        }
        // They work when they will, not within a round.
        let beside = (time_beside()? - beside).as_secs_f64() * 1e6;
        let beside = beside / (requests * (ROUNDS + 1)) as f64;
        let pairs: Vec<_> = pairs.into_iter().map(|(gateway, floor)| (gateway + beside, floor)).collect();
        let ratio = median(pairs.iter().map(|(gateway, floor)| gateway / floor));
        let gateway = median(pairs.iter().map(|pair| pair.0));
        let floor = median(pairs.iter().map(|pair| pair.1));
        println!("{name}: gateway {gateway:.1} µs, floor {floor:.1} µs, ratio {ratio:.2} (budget {budget})");
    }
    Ok(())
}
