//! The handle that requests go through.

use crate::error::{LoadError, SubmitError};
use crate::gguf::Gguf;
use crate::model::Transformer;
use crate::tokenizer::Tokenizer;
use crate::verify::open_verified;
use crate::worker::{Event, Generation, Job, run};
use std::path::PathBuf;
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
    context_tokens: usize,
    queue: SyncSender<Job>,
}

impl Engine {
    /// Verifies and loads a model, and starts its worker. Takes seconds; not for asynchronous threads.
    pub fn load(config: &EngineConfig) -> Result<Self, LoadError> {
        let mut gguf = Gguf::read(open_verified(&config.path, &config.sha256)?)?;
        let tokenizer = Tokenizer::load(&gguf)?;
        let mut model = Transformer::load(&mut gguf)?;
        model.try_out()?;
        let context_tokens = model.context_tokens();
        let (queue, jobs) = sync_channel(config.queue_capacity);
        std::thread::Builder::new()
            .name("model-worker".into())
            .spawn(move || run(model, &tokenizer, &jobs))
            .map_err(|error| LoadError::Worker(error.to_string()))?;
        Ok(Self { context_tokens, queue })
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
}
