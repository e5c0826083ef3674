//! What can go wrong. Messages name files, hashes and limits, never a prompt.

use std::path::PathBuf;

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("the model file {} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// Another file, or a truncated one.
    #[error("the model file has SHA-256 {actual}, but {expected} is pinned")]
    HashMismatch {
        /// What the configuration pins.
        expected: String,
        /// What the file has.
        actual: String,
    },
    /// Not a GGUF file that this engine understands.
    #[error("the model file is not usable: {0}")]
    Malformed(String),
    /// The worker thread could not be started.
    #[error("the model's worker does not start: {0}")]
    Worker(String),
}

/// Why a request was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Too many requests wait.
    #[error("the model's queue is full")]
    QueueFull,
    /// The worker ended.
    #[error("the model's worker has ended")]
    Stopped,
}

/// Why an answer failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The prompt leaves no room for an answer.
    #[error("the prompt has at least {tokens} tokens, but the model's context holds {limit} tokens")]
    PromptTooLong {
        /// Tokens that the prompt has at least.
        tokens: usize,
        /// The context's size.
        limit: usize,
    },
    /// The inference library failed.
    #[error("inference failed: {0}")]
    Inference(String),
}

impl From<candle_core::Error> for LoadError {
    fn from(error: candle_core::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<candle_core::Error> for EngineError {
    fn from(error: candle_core::Error) -> Self {
        Self::Inference(error.to_string())
    }
}
