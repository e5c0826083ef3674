//! The one thread that computes, and the queue in front of it.

use crate::chat::Turn;
use crate::error::EngineError;
use crate::model::{PREFILL_TOKENS, Transformer};
use crate::sampler::Sampler;
use crate::stop::StopWatch;
use crate::tokenizer::Tokenizer;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Receiver;
use tokio::sync::mpsc::Sender;

/// What to answer.
#[derive(Clone, Debug)]
pub struct Generation {
    /// The conversation.
    pub messages: Vec<Turn>,
    /// Most tokens to write.
    pub max_tokens: usize,
    /// Sampling temperature; zero always takes the likeliest token.
    pub temperature: f64,
    /// Share of probability that is sampled from.
    pub top_p: f64,
    /// Seed of the sampler.
    pub seed: u64,
    /// Texts that end the answer.
    pub stop: Vec<String>,
}

/// A part of an answer. The last one is `Finished` or `Failed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// More text.
    Text(String),
    /// The end.
    Finished(Finish),
    /// The answer could not be completed.
    Failed(EngineError),
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finish {
    /// Why.
    pub reason: FinishReason,
    /// Tokens read.
    pub prompt_tokens: usize,
    /// Tokens written.
    pub completion_tokens: usize,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model was done, or a stop text came.
    Stop,
    /// The limit of tokens was reached.
    Length,
}

/// A request and where its answer goes. The channel holds the longest answer, so that a slow client never
/// stops the worker; one that leaves ends the work.
pub(crate) struct Job {
    pub(crate) generation: Generation,
    pub(crate) events: Sender<Event>,
}

/// The client left; nobody is to be told.
struct Cancelled;

enum Failure {
    Cancelled,
    Error(EngineError),
}

impl From<Cancelled> for Failure {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl<E: Into<EngineError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// Answers until the queue is dropped.
pub(crate) fn run(mut model: Transformer, tokenizer: &Tokenizer, queue: &Receiver<Job>) {
    while let Ok(job) = queue.recv() {
        let answered = catch_unwind(AssertUnwindSafe(|| answer(&mut model, tokenizer, &job)));
        let failure = match answered {
            Ok(Ok(finish)) => Event::Finished(finish),
            Ok(Err(Failure::Cancelled)) => continue,
            Ok(Err(Failure::Error(error))) => Event::Failed(error),
            Err(_) => Event::Failed(EngineError::Inference("the worker panicked".into())),
        };
        let _ = job.events.try_send(failure);
    }
}

fn answer(model: &mut Transformer, tokenizer: &Tokenizer, job: &Job) -> Result<Finish, Failure> {
    let Job { generation, events } = job;
    // The client may have left while the request waited.
    send(events, String::new())?;
    let limit = model.context_tokens();
    let too_long = |tokens: usize| EngineError::PromptTooLong { tokens, limit };
    // Splitting megabytes into tokens takes seconds and much memory, and most of the time is not needed to
    // know that they are too many.
    let bytes = generation.messages.iter().map(|turn| turn.content.len()).sum();
    if tokenizer.least_tokens(bytes) >= limit {
        return Err(too_long(tokenizer.least_tokens(bytes)).into());
    }
    let prompt = tokenizer.prompt(&generation.messages)?;
    if prompt.len() >= limit {
        return Err(too_long(prompt.len()).into());
    }
    let most = generation.max_tokens.min(limit - prompt.len());
    let mut sampler = Sampler::new(generation.temperature, generation.top_p, generation.seed);
    let mut watch = StopWatch::new(generation.stop.clone());
    let mut decode = tokenizer.decoder();

    model.reset();
    let mut scores = prefill(model, &prompt, PREFILL_TOKENS, events)?;
    let mut finish =
        Finish { reason: FinishReason::Length, prompt_tokens: prompt.len(), completion_tokens: 0 };
    while finish.completion_tokens < most {
        let token = sampler.choose(&scores);
        finish.completion_tokens += 1;
        if tokenizer.is_end(token) {
            finish.reason = FinishReason::Stop;
            break;
        }
        let passed = watch.push(&decode(token)?);
        send(events, passed.text)?;
        if passed.stopped {
            finish.reason = FinishReason::Stop;
            return Ok(finish);
        }
        if finish.completion_tokens < most {
            scores = model.forward(&[token], prompt.len() + finish.completion_tokens - 1)?.to_vec1()?;
        }
    }
    send(events, watch.finish())?;
    Ok(finish)
}

/// Reads a prompt, so many tokens at once, and gives the scores of what comes next.
fn prefill(
    model: &mut Transformer,
    prompt: &[u32],
    at_once: usize,
    events: &Sender<Event>,
) -> Result<Vec<f32>, Failure> {
    let mut scores = Vec::new();
    for (index, chunk) in prompt.chunks(at_once).enumerate() {
        send(events, String::new())?;
        scores = model.forward(chunk, index * at_once)?.to_vec1()?;
    }
    Ok(scores)
}

/// Sends text, if there is any, and notices a client that left either way.
fn send(events: &Sender<Event>, text: String) -> Result<(), Cancelled> {
    if events.is_closed() {
        return Err(Cancelled);
    }
    if text.is_empty() {
        return Ok(());
    }
    events.try_send(Event::Text(text)).map_err(|_| Cancelled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Role, Turn};
    use crate::gguf::Gguf;
    use std::fs::File;
    use std::path::PathBuf;

    /// How far scores may be apart on average, where the best is about 25. Seen: 0.13, and 0.36 or more where something was missed.
    /// What is read in other parts is rounded otherwise, and the activations of a layer are small whole numbers: little becomes more.
    const ROUNDING: f32 = 0.25;

    fn small_model() -> (Transformer, Tokenizer) {
        let folder = std::env::var_os("CODECRUCIBLE_MODEL_DIR").map_or_else(
            || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/codecrucible/models"),
            PathBuf::from,
        );
        let file = File::open(folder.join("smollm2-135m-instruct-q4_1.gguf")).expect("run `make model`");
        let mut gguf = Gguf::read(file).unwrap();
        let tokenizer = Tokenizer::load(&gguf).unwrap();
        (Transformer::load(&mut gguf).unwrap(), tokenizer)
    }

    fn difference(one: &[f32], other: &[f32]) -> f32 {
        assert_eq!(one.len(), other.len());
        let mean = |numbers: &[f32]| numbers.iter().sum::<f32>() / numbers.len() as f32;
        let apart: Vec<f32> = one.iter().zip(other).map(|(one, other)| one - other).collect();
        // What all scores have more decides nothing.
        let shift = mean(&apart);
        mean(&apart.iter().map(|apart| (apart - shift).abs()).collect::<Vec<_>>())
    }

    /// The scores, and not what is said: where two tokens are almost equally likely, each processor rounds its own way.
    #[test]
    fn a_prompt_longer_than_several_chunks_is_read_as_one() {
        let (mut model, tokenizer) = small_model();
        let content = "What is the capital of France?".into();
        let prompt = tokenizer.prompt(&[Turn { role: Role::User, content }]).unwrap();
        let mut read = |prompt: &[u32], at_once| {
            model.reset();
            let (events, _receiver) = tokio::sync::mpsc::channel(1);
            let Ok(scores) = prefill(&mut model, prompt, at_once, &events) else { panic!("not read") };
            scores
        };
        let whole = read(&prompt, prompt.len());
        for at_once in [1, 3, 8] {
            let apart = difference(&whole, &read(&prompt, at_once));
            assert!(apart < ROUNDING, "{apart} where {at_once} are read at once");
        }
        for missed in [1, 8] {
            let apart = difference(&whole, &read(&prompt[missed..], prompt.len()));
            assert!(apart > ROUNDING, "{apart} without the first {missed}: the test would not see it");
        }
    }
}
