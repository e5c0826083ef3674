//! A model's answer as pieces of text, whoever gives it.

use super::BackendError;
use codecrucible_contract::Timeouts;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use serde::Serialize;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// What to ask a model.
#[derive(Clone, Debug)]
pub struct CompletionRequest {
    /// The backend's own name of the model.
    pub model: String,
    /// The conversation.
    pub turns: Vec<Turn>,
    /// Most tokens to write.
    pub max_tokens: usize,
    /// Sampling temperature; zero always takes the likeliest token.
    pub temperature: f64,
    /// Share of probability that is sampled from, above zero and at most one.
    pub top_p: f64,
    /// Seed of the sampler, where the client wants the same answer again.
    pub seed: Option<u64>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "OpenAI's own names")]
pub enum Role {
    System,
    User,
    Assistant,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// A part of an answer. The last one is [`Piece::Finished`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// More text.
    Text(String),
    /// The end.
    Finished(Finish),
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finish {
    /// Why.
    pub reason: FinishReason,
    /// Tokens read; zero where the backend does not say.
    pub prompt_tokens: usize,
    /// Tokens written; zero where the backend does not say.
    pub completion_tokens: usize,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// The model was done.
    #[default]
    Stop,
    /// The limit of tokens was reached.
    Length,
}

/// An answer that is still being given. Dropping it cancels the work behind it.
pub type Completion = BoxStream<'static, Result<Piece, BackendError>>;

/// Ends an answer that makes no progress, or takes too long altogether.
pub(super) fn within(
    answer: impl Stream<Item = Result<Piece, BackendError>> + Send + 'static,
    timeouts: Timeouts,
) -> Completion {
    let end = Instant::now() + Duration::from_millis(timeouts.total_ms);
    let idle = Duration::from_millis(timeouts.idle_ms);
    let state = Some((answer.boxed(), Duration::from_millis(timeouts.first_byte_ms)));
    futures::stream::unfold(state, move |state| async move {
        let (mut answer, patience) = state?;
        match timeout_at(end.min(Instant::now() + patience), answer.next()).await {
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some((answer, idle)))),
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Ok(None) => None,
            Err(_elapsed) => Some((Err(BackendError::TimedOut), None)),
        }
    })
    .boxed()
}
