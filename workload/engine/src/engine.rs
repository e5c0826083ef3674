//! The handle that requests go through.

use crate::chat::Turn;
use crate::error::{EngineError, LoadError, SubmitError};
use crate::gguf::Gguf;
use crate::model::Transformer;
use crate::tokenizer::Tokenizer;
use crate::verify::verify;
use crate::worker::{Event, Generation, Job, run};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use tokio::sync::mpsc::Receiver;

/// Which model to load.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The GGUF file.
    pub path: PathBuf,
    /// SHA-256 of the file, lower-case hexadecimal.
    pub sha256: String,
    /// Requests that may wait while one is answered.
    pub queue_capacity: usize,
}

/// A loaded model. Clones share it.
#[derive(Clone)]
pub struct Engine {
    tokenizer: Arc<Tokenizer>,
    context_tokens: usize,
    queue: SyncSender<Job>,
}

impl Engine {
    /// Verifies and loads a model, and starts its worker. Takes seconds; not for asynchronous threads.
    pub fn load(config: &EngineConfig) -> Result<Self, LoadError> {
        verify(&config.path, &config.sha256)?;
        let mut gguf = Gguf::open(&config.path)?;
        let tokenizer = Arc::new(Tokenizer::load(&gguf)?);
        let model = Transformer::load(&mut gguf)?;
        let context_tokens = model.context_tokens();
        let (queue, jobs) = sync_channel(config.queue_capacity);
        let worker = {
            let tokenizer = tokenizer.clone();
            move || run(model, &tokenizer, &jobs)
        };
        std::thread::Builder::new()
            .name("model-worker".into())
            .spawn(worker)
            .map_err(|error| LoadError::Worker(error.to_string()))?;
        Ok(Self { tokenizer, context_tokens, queue })
    }

    /// Queues a request. Never blocks. Dropping the receiver cancels the work.
    pub fn submit(&self, generation: Generation) -> Result<Receiver<Event>, SubmitError> {
        // Room for the whole answer and its end.
        let capacity = generation.max_tokens.min(self.context_tokens) + 2;
        let (events, receiver) = tokio::sync::mpsc::channel(capacity);
        match self.queue.try_send(Job { generation, events }) {
            Ok(()) => Ok(receiver),
            Err(TrySendError::Full(_)) => Err(SubmitError::QueueFull),
            Err(TrySendError::Disconnected(_)) => Err(SubmitError::Stopped),
        }
    }

    /// Tokens that prompt and answer may have together.
    pub fn context_tokens(&self) -> usize {
        self.context_tokens
    }

    /// Tokens of a conversation, so that one that is too long can be refused before it waits.
    pub fn count_prompt_tokens(&self, messages: &[Turn]) -> Result<usize, EngineError> {
        self.tokenizer.prompt(messages).map(|tokens| tokens.len())
    }
}
