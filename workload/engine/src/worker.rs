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
    let mut scores = prefill(model, &prompt, events)?;
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

fn prefill(model: &mut Transformer, prompt: &[u32], events: &Sender<Event>) -> Result<Vec<f32>, Failure> {
    let mut scores = Vec::new();
    for (index, chunk) in prompt.chunks(PREFILL_TOKENS).enumerate() {
        send(events, String::new())?;
        scores = model.forward(chunk, index * PREFILL_TOKENS)?.to_vec1()?;
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
