//! Processor time for a request, beside other gateways on the same work in the same rounds, each of them on one processor.
#![allow(clippy::print_stdout, reason = "benchmarks print their figures")]

use codecrucible_benches::{
    Ask, Backend, Extent, Load, PeerServer, Server, Target, floor, median, peer, pin_to, start_product,
    time_beside,
};
use codecrucible_workload::huge_pages::do_without;
use codecrucible_workload::telemetry::install_logging_to;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// The workload's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rounds; in each, all take turns.
const ROUNDS: usize = 7;
/// Processor of what is measured; everything else runs on the other one.
const MEASURED_PROCESSOR: usize = 0;
const OTHER_PROCESSOR: usize = 1;
/// Times that the product may take of what the fastest peer takes.
const BUDGET: f64 = 0.5;

/// The router of vLLM's production stack, in Rust.
const VLLM_ROUTER: &str = "vllm-router==0.1.17";
/// A gateway in Python.
const LITELLM: &str = "litellm[proxy]==1.100.4";
/// A request to it takes so much longer that so many fewer tell as much.
const LITELLM_PART: usize = 10;

/// The work, and how many requests in a round.
const TABLE: [(&str, Ask, usize); 3] = [
    ("chat, 273 bytes", Ask::Chat, 1_000),
    ("prompt of 33 KB", Ask::LongPrompt, 500),
    ("stream, 64 chunks", Ask::Stream, 200),
];

/// One that is measured.
struct Measured {
    name: &'static str,
    target: Target,
    clock: Box<dyn Fn() -> anyhow::Result<Duration>>,
    part: usize,
    is_peer: bool,
}

/// Which of those that are measured is the product with everything on.
const EVERYTHING: usize = 2;

fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let packages = (peer(VLLM_ROUTER, "vllm_router")?, peer(LITELLM, "litellm")?);
    let (Some(vllm_router), Some(litellm)) = packages else { return Ok(()) };
    pin_to(OTHER_PROCESSOR);
    let nowhere: &'static File = Box::leak(Box::new(File::options().write(true).open("/dev/null")?));
    install_logging_to(move || Box::new(nowhere))?;
    let backend = Server::start(OTHER_PROCESSOR, Backend::serve)?.address;
    let mut all = ours(backend)?;
    all.push(of_peer("vllm-router", 1, start_vllm_router(&vllm_router, backend)?));
    all.push(of_peer("LiteLLM", LITELLM_PART, start_litellm(&litellm, backend)?));
    // As the program does; the peers are to have what they like.
    do_without();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for (work, ask, requests) in TABLE {
        let load = Load::new(ask, 200);
        let mut rounds = Vec::new();
        let beside = time_beside()?;
        for round in 0..=ROUNDS {
            let costs = all.iter().map(|measured| {
                let (before, requests) = ((measured.clock)()?, requests / measured.part);
                runtime.block_on(load.send(&measured.target, requests))?;
                Ok(((measured.clock)()? - before).as_secs_f64() * 1e6 / requests as f64)
            });
            let costs: Vec<f64> = costs.collect::<anyhow::Result<_>>()?;
            // The first round warms up.
            if round > 0 {
                rounds.push(costs);
            }
        }
        // Only the product with everything on has threads beside the server's.
        let beside = (time_beside()? - beside).as_secs_f64() * 1e6 / (requests * (ROUNDS + 1)) as f64;
        rounds.iter_mut().for_each(|costs| costs[EVERYTHING] += beside);
        print_table(work, &all, &rounds);
    }
    Ok(())
}

/// Each one's time, and as a multiple of the product's with everything on.
fn print_table(work: &str, all: &[Measured], rounds: &[Vec<f64>]) {
    println!("{work}:");
    for (index, measured) in all.iter().enumerate() {
        let time = median(rounds.iter().map(|costs| costs[index]));
        let ratio = median(rounds.iter().map(|costs| costs[index] / costs[EVERYTHING]));
        println!("  {:<32} {time:>8.1} µs, {ratio:.2} of the product's", measured.name);
    }
    let fastest_peer = |costs: &Vec<f64>| {
        all.iter()
            .zip(costs)
            .filter(|(measured, _)| measured.is_peer)
            .map(|(_, cost)| *cost)
            .fold(f64::MAX, f64::min)
    };
    let part = median(rounds.iter().map(|costs| costs[EVERYTHING] / fastest_peer(costs)));
    println!("  the product with everything on takes {part:.2} of the fastest peer (budget {BUDGET})");
}

/// The floor, and the product.
fn ours(backend: SocketAddr) -> anyhow::Result<Vec<Measured>> {
    let floor = Server::start(MEASURED_PROCESSOR, move || floor(backend))?;
    let to_floor = Target { address: floor.address, token: "x".into() };
    let (bare, to_bare) = start_product(MEASURED_PROCESSOR, backend, Extent::Bare)?;
    let (everything, to_everything) = start_product(MEASURED_PROCESSOR, backend, Extent::Everything)?;
    let of = |name, server: Server, target| Measured {
        name,
        target,
        clock: Box::new(move || server.processor_time()),
        part: 1,
        is_peer: false,
    };
    Ok(vec![
        of("floor", floor, to_floor),
        of("the product, bare", bare, to_bare),
        of("the product, everything on", everything, to_everything),
    ])
}

fn of_peer(name: &'static str, part: usize, server: PeerServer) -> Measured {
    let target = Target { address: server.address, token: "x".into() };
    Measured { name, target, clock: Box::new(move || server.processor_time()), part, is_peer: true }
}

fn start_vllm_router(packages: &Path, backend: SocketAddr) -> anyhow::Result<PeerServer> {
    let arguments = |port: u16| {
        let (worker, port) = (format!("http://{backend}"), port.to_string());
        ["--worker-urls", &worker, "--policy", "round_robin", "--host", "127.0.0.1", "--port", &port]
            .map(str::to_owned)
            .into()
    };
    PeerServer::start(MEASURED_PROCESSOR, (packages, "vllm-router"), None, arguments, "/health")
}

fn start_litellm(packages: &Path, backend: SocketAddr) -> anyhow::Result<PeerServer> {
    let configuration = serde_json::json!({"model_list": [{
        "model_name": "m",
        "litellm_params": {"model": "openai/m", "api_base": format!("http://{backend}/v1"), "api_key": "x"},
    }]});
    let path = std::env::temp_dir().join(format!("codecrucible-peers-{}.yaml", std::process::id()));
    // JSON is YAML.
    std::fs::write(&path, configuration.to_string())?;
    let arguments = |port: u16| {
        let (path, port) = (path.display().to_string(), port.to_string());
        ["--config", &path, "--host", "127.0.0.1", "--port", &port].map(str::to_owned).into()
    };
    // It asks nobody but the backend.
    let environment = Some(("LITELLM_LOCAL_MODEL_COST_MAP", "True"));
    let program = (packages, "litellm");
    let server = PeerServer::start(MEASURED_PROCESSOR, program, environment, arguments, "/health/liveliness");
    std::fs::remove_file(&path)?;
    server
}
