//! The embedded engine's tokens per second on each model file, and beside llama.cpp on the same file, prompt
//! and threads in the same run, where `make bench-peers` has installed it.
#![allow(clippy::print_stdout, reason = "benchmarks print their figures")]

use anyhow::{Context as _, ensure};
use codecrucible_benches::{median, peer};
use codecrucible_engine::{Engine, EngineConfig, Event, Generation, Role, Turn, prepare_process};
use codecrucible_tests::model::{Model, QWEN, SMOLLM};
use codecrucible_tests::paths;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Rounds; in each, engine and peer take turns.
const ROUNDS: usize = 5;
/// Tokens that are written in a round.
const TOKENS: usize = 96;
/// Time per token that the engine may take, as a multiple of the peer's.
const BUDGET: f64 = 1.25;
/// What both are asked.
const QUESTION: &str =
    "Write a Python function that sorts a list of numbers with merge sort. Explain each step.";
/// The peer: llama.cpp with its Python bindings, at the version that the comparison was written against.
const PEER: &str = "llama-cpp-python==0.3.36";

fn main() -> anyhow::Result<()> {
    prepare_process();
    let peer = peer(PEER, "llama_cpp")?;
    for model in [SMOLLM, QWEN] {
        measure(&model, peer.as_deref())?;
    }
    Ok(())
}

fn measure(model: &Model, peer: Option<&Path>) -> anyhow::Result<()> {
    let path = model.fetch()?;
    let config = EngineConfig { path: path.clone(), sha256: model.sha256.into(), queue_capacity: 1 };
    let engine = Engine::load(&config)?;
    decode_rate(&engine)?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let theirs = peer.map(|peer| peer_rate(peer, &path)).transpose()?;
        rounds.push((decode_rate(&engine)?, theirs));
    }
    let ours = median(rounds.iter().map(|(ours, _)| *ours));
    print!("decode, {}: {ours:.1} tokens/s", model.file);
    let ratios: Vec<f64> = rounds.iter().filter_map(|(ours, theirs)| Some(theirs.as_ref()? / ours)).collect();
    if !ratios.is_empty() {
        let theirs = median(rounds.iter().filter_map(|(_, theirs)| *theirs));
        let ratio = median(ratios.into_iter());
        print!(", llama.cpp {theirs:.1} tokens/s, time per token {ratio:.2} of its (budget {BUDGET})");
    }
    println!();
    Ok(())
}

/// Tokens per second after the first one.
fn decode_rate(engine: &Engine) -> anyhow::Result<f64> {
    let messages = vec![Turn { role: Role::User, content: QUESTION.into() }];
    let generation =
        Generation { messages, max_tokens: TOKENS, temperature: 0.0, top_p: 1.0, seed: 0, stop: Vec::new() };
    let mut events = engine.submit(generation)?;
    let mut first = None;
    loop {
        match events.blocking_recv().context("the answer has no end")? {
            Event::Text(_) => {
                first.get_or_insert_with(Instant::now);
            }
            Event::Failed(error) => return Err(error.into()),
            Event::Finished(finish) => {
                let seconds = first.context("nothing was said")?.elapsed().as_secs_f64();
                return Ok((finish.completion_tokens - 1) as f64 / seconds);
            }
        }
    }
}

fn peer_rate(packages: &Path, model: &Path) -> anyhow::Result<f64> {
    let script = paths::repository().join("benches/peers/llama_cpp_decode.py");
    let threads = std::env::var("CANDLE_NUM_THREADS").unwrap_or_else(|_| "1".into());
    let output = Command::new("python3")
        .arg(script)
        .arg(model)
        .args([QUESTION, &TOKENS.to_string(), &threads])
        .env("PYTHONPATH", packages)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)?.trim().parse().context("the peer printed no number")
}
