//! Measures a model: `decode_rate FILE SHA256`.
#![allow(clippy::print_stdout, reason = "a command-line tool")]

use codecrucible_engine::{Engine, EngineConfig, Event, Generation, Role, Turn, prepare_process};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    prepare_process();
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: decode_rate FILE SHA256")?;
    let sha256 = arguments.next().ok_or("usage: decode_rate FILE SHA256")?;
    let start = Instant::now();
    let engine = Engine::load(&EngineConfig { path: path.into(), sha256, queue_capacity: 1 })?;
    println!("loaded in {:.2} s", start.elapsed().as_secs_f64());
    let content = "Write a Python function that sorts a list of numbers with merge sort. Explain each step.";
    let messages = vec![Turn { role: Role::User, content: content.into() }];
    let generation =
        Generation { messages, max_tokens: 128, temperature: 0.0, top_p: 1.0, seed: 0, stop: Vec::new() };
    let start = Instant::now();
    let mut events = engine.submit(generation)?;
    let mut first = None;
    while let Some(event) = events.blocking_recv() {
        match event {
            Event::Text(text) => {
                first.get_or_insert_with(Instant::now);
                print!("{text}");
            }
            Event::Failed(error) => return Err(error.into()),
            Event::Finished(finish) => {
                let first = first.unwrap_or(start);
                let prompt_rate = finish.prompt_tokens as f64 / (first - start).as_secs_f64();
                let decode_rate = (finish.completion_tokens - 1) as f64 / first.elapsed().as_secs_f64();
                println!("\nprompt {prompt_rate:.1} tokens/s, decode {decode_rate:.1} tokens/s");
            }
        }
    }
    Ok(())
}
