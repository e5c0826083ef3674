//! Processor time of the gateway for a request, beside the floor in the same run.
#![allow(clippy::print_stdout, reason = "benchmarks print their figures")]

use codecrucible_benches::{Backend, Load, Server, Target, floor, median, pin_to, product};

/// The workload's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rounds; in each, product and floor take turns.
const ROUNDS: usize = 15;
/// Processor of what is measured; everything else runs on the other one.
const MEASURED_PROCESSOR: usize = 0;
const OTHER_PROCESSOR: usize = 1;

fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    pin_to(OTHER_PROCESSOR);
    let backend = Server::start(OTHER_PROCESSOR, Backend::serve)?.address;
    let (sender, receiver) = std::sync::mpsc::channel();
    let gateway = Server::start(MEASURED_PROCESSOR, move || async move {
        let (address, token) = product(backend).await?;
        sender.send(token)?;
        Ok(address)
    })?;
    let floor = Server::start(MEASURED_PROCESSOR, move || floor(backend))?;
    let token = receiver.recv()?;
    let target = |server: &Server| Target { address: server.address, token: token.clone() };
    let (to_gateway, to_floor) = (target(&gateway), target(&floor));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for (name, stream, requests, limit) in
        [("chat, 273 bytes", false, 2_000, 1.6), ("stream, 64 chunks", true, 300, 1.3)]
    {
        let load = Load::new(stream);
        let cost = |server: &Server, target: &Target| -> anyhow::Result<f64> {
            let before = server.processor_time()?;
            runtime.block_on(load.send(target, requests))?;
            Ok((server.processor_time()? - before).as_secs_f64() * 1e6 / requests as f64)
        };
        let mut pairs = Vec::new();
        for round in 0..=ROUNDS {
            let pair = (cost(&gateway, &to_gateway)?, cost(&floor, &to_floor)?);
            // The first round warms up.
            if round > 0 {
                pairs.push(pair);
            }
        }
        let ratio = median(pairs.iter().map(|(gateway, floor)| gateway / floor));
        let (gateway, floor) =
            (median(pairs.iter().map(|pair| pair.0)), median(pairs.iter().map(|pair| pair.1)));
        println!("{name}: gateway {gateway:.1} µs, floor {floor:.1} µs, ratio {ratio:.2} (budget {limit})");
    }
    Ok(())
}
