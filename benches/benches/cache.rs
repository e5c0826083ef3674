//! What of a load is answered by no backend where memory has room for a tenth of all answers, and how long that takes by where they were found. Prompts are asked for as
//! Zipf's law has it: the second half as often as the first, the tenth a tenth as often.
#![allow(clippy::print_stdout, reason = "benchmarks print their figures")]

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::routing::post;
use codecrucible_benches::{Extent, Program, Server, Target, policy_of};
use codecrucible_contract::{Cache, Policy, SharedAnswers, Store};
use codecrucible_tests::wait;
use futures::StreamExt as _;
use http::header::CONTENT_TYPE;
use redis_server::RedisServer;
use serde_json::json;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "it is made for tests, which need more of it"
)]
#[path = "../../workload/src/store/redis_server.rs"]
mod redis_server;

/// Different prompts.
const PROMPTS: usize = 10_000;
/// Answers for which there is room in memory.
const KEPT: u64 = 1_000;
/// Room in memory, the least that there can be, bytes; with what each answer takes beside its own.
const MEMORY_BYTES: u64 = 1 << 20;
const BESIDE_BYTES: u64 = 512;
/// Room on the disk, bytes.
const DISK_BYTES: usize = 64 << 20;
/// Requests under way at once.
const CONCURRENCY: usize = 8;
/// Requests from the first one on, when nothing is kept.
const REQUESTS: usize = 150_000;
/// How many are to be answered by no backend, percent, and how soon 99 of 100 of them from each layer, milliseconds.
const LEAST_HITS: f64 = 90.0;
const MOST_MS: f64 = 10.0;
/// Longest wait for a layer, seconds.
const READY_SECONDS: u64 = 20;

fn main() -> anyhow::Result<()> {
    let backend = Server::start(1, backend)?.address;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let policy = |shared| {
        let policy = policy_of(backend, Extent::Kept);
        let cache = policy.cache.map(|cache| Cache { memory_bytes: MEMORY_BYTES, shared, ..cache });
        Policy { cache, ..policy }
    };
    let report = |name: &str, program: &Program| -> anyhow::Result<()> {
        runtime.block_on(run(name, program, &program.token()?))
    };

    report("memory alone", &Program::start(&policy(None))?)?;

    let folder = tempfile::tempdir()?;
    let bytes = DISK_BYTES.to_string();
    let disk = [
        OsStr::new("--cache-folder"),
        folder.path().as_os_str(),
        OsStr::new("--cache-bytes"),
        OsStr::new(&bytes),
    ];
    let program = Program::start_with(&policy(None), &disk)?;
    until_ready(&program, "disk")?;
    report("memory and disk", &program)?;
    drop(program);

    let redis = RedisServer::start(&["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]);
    let store = Store { url: redis.url(), username: None, has_credential: false, is_cluster: false };
    let program = Program::start(&policy(Some(SharedAnswers { store, scope: "bench".into() })))?;
    until_ready(&program, "redis")?;
    report("memory and Redis", &program)
}

fn until_ready(program: &Program, layer: &str) -> anyhow::Result<()> {
    let line = format!("codecrucible_cache_layer_ready{{layer=\"{layer}\"}} 1");
    wait::until("the layer", Duration::from_secs(READY_SECONDS), || Ok(program.metrics()?.contains(&line)))
}

/// Serves answers of which memory has room for as many as it is to have.
async fn backend() -> anyhow::Result<SocketAddr> {
    let document = |padding: usize| {
        json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "x".repeat(padding)}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 10, "total_tokens": 19}})
        .to_string()
    };
    let bytes = usize::try_from(MEMORY_BYTES / KEPT - BESIDE_BYTES)?;
    let answer = document(bytes - document(0).len());
    let answer = move || async { ([(CONTENT_TYPE, "application/json")], answer) };
    let socket = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = socket.local_addr()?;
    tokio::spawn(async move {
        axum::serve(socket, Router::new().route("/v1/chat/completions", post(answer))).await
    });
    Ok(address)
}

async fn run(name: &str, program: &Program, token: &str) -> anyhow::Result<()> {
    let target =
        Target { address: program.public.trim_start_matches("http://").parse()?, token: token.to_owned() };
    let client = reqwest::Client::new();
    let law = Zipf::new(PROMPTS);
    let mut asking =
        futures::stream::iter(0..REQUESTS).map(|_| ask(&client, &target, law.rank())).buffered(CONCURRENCY);
    // By layer, in the order of the requests, milliseconds.
    let mut times = BTreeMap::<String, Vec<f64>>::new();
    let (mut hits, mut late_hits, mut number) = (0, 0, 0);
    while let Some(answer) = asking.next().await {
        let (layer, time) = answer?;
        let is_hit = layer != "backend";
        hits += usize::from(is_hit);
        late_hits += usize::from(is_hit && number >= REQUESTS - REQUESTS / 3);
        number += 1;
        times.entry(layer).or_default().push(time.as_secs_f64() * 1e3);
    }
    let percent = |hits: usize, of: usize| 100.0 * hits as f64 / of as f64;
    println!(
        "{name}: {:.1} % of {REQUESTS} requests from an empty cache on are hits, {:.1} % of the last third (at least {LEAST_HITS:.0})",
        percent(hits, REQUESTS),
        percent(late_hits, REQUESTS / 3)
    );
    for (layer, mut times) in times {
        times.sort_by(f64::total_cmp);
        let at = |part: f64| times[((times.len() as f64 * part) as usize).min(times.len() - 1)];
        println!(
            "  {layer}: {} answers, median {:.2} ms, 99 % within {:.2} ms (hits: {MOST_MS:.0})",
            times.len(),
            at(0.5),
            at(0.99)
        );
    }
    Ok(())
}

/// Where the answer came from, and how long it took.
async fn ask(client: &reqwest::Client, target: &Target, rank: usize) -> anyhow::Result<(String, Duration)> {
    let question = json!({"model": "m", "messages": [{"role": "user", "content": format!("prompt {rank}")}]});
    let request = client.post(format!("http://{}/v1/chat/completions", target.address));
    let request = request.bearer_auth(&target.token).header(CONTENT_TYPE, "application/json");
    let begin = Instant::now();
    let answer = request.body(question.to_string()).send().await?.error_for_status()?;
    let route = answer.headers().get("x-codecrucible-route").context("no route")?.to_str()?;
    let (kind, rest) = route.split_once('=').context("another route")?;
    let layer = if kind == "cache" { rest.split(';').next().unwrap_or(rest) } else { kind };
    let layer = layer.to_owned();
    ensure!(!answer.bytes().await?.is_empty(), "an empty answer");
    Ok((layer, begin.elapsed()))
}

/// Zipf's law with an exponent of 1.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(ranks: usize) -> Self {
        let sums = (1..=ranks).scan(0.0, |sum, rank| {
            *sum += 1.0 / rank as f64;
            Some(*sum)
        });
        Self(sums.collect())
    }

    fn rank(&self) -> usize {
        let most = self.0.last().copied().unwrap_or_default();
        let drawn = fastrand::f64() * most;
        self.0.partition_point(|sum| *sum < drawn)
    }
}
