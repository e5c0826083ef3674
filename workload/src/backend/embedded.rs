//! Models in this process. Loading takes seconds, so it happens on a thread of its own while the service
//! goes on; a model that is loaded stays when the policy changes around it.

use super::{BackendError, Deltas, Readiness};
use crate::dialects::embedded::EngineRequest;
use crate::dialects::{Delta, Role, StopReason, Usage};
use codecrucible_contract::Embedded;
use codecrucible_engine::{
    self as engine, Engine, EngineConfig, EngineError, Event, Generation, SubmitError,
};
use futures::{StreamExt as _, TryStreamExt as _};
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// Generations that wait for the one worker of a model.
const QUEUE_CAPACITY: usize = 16;

/// The models of this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Engines {
    loaded: Arc<Mutex<Vec<KnownModel>>>,
}

/// A model that some snapshot may still use.
type KnownModel = (Embedded, Weak<Slot>);

/// Filled once by the loading thread.
type Slot = OnceLock<Result<Engine, String>>;

/// One model, perhaps still loading.
pub struct EmbeddedBackend {
    slot: Arc<Slot>,
}

impl Engines {
    /// The model that a policy describes. Starts loading it unless another snapshot already did.
    pub fn backend(&self, embedded: &Embedded) -> EmbeddedBackend {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|(_, slot)| slot.strong_count() > 0);
        let known = loaded.iter().find(|(known, _)| known == embedded).and_then(|(_, slot)| slot.upgrade());
        // A file that failed is tried again: it may have arrived since.
        if let Some(slot) = known.filter(|slot| !matches!(slot.get(), Some(Err(_)))) {
            return EmbeddedBackend { slot };
        }
        let slot = Arc::new(Slot::new());
        loaded.push((embedded.clone(), Arc::downgrade(&slot)));
        start_loading(embedded.clone(), slot.clone());
        EmbeddedBackend { slot }
    }
}

fn start_loading(embedded: Embedded, slot: Arc<Slot>) {
    let load = {
        let slot = slot.clone();
        move || {
            let config = EngineConfig {
                path: PathBuf::from(&embedded.path),
                sha256: embedded.sha256,
                queue_capacity: QUEUE_CAPACITY,
            };
            let outcome = catch_unwind(|| Engine::load(&config).map_err(|error| error.to_string()))
                .unwrap_or_else(|_| Err("the model file makes the loader panic".into()));
            // In this order: who reads the log may look at the probe at once.
            match slot.get_or_init(|| outcome) {
                Ok(_) => tracing::info!(path = embedded.path, "model loaded"),
                Err(reason) => tracing::error!(path = embedded.path, reason, "model not loaded"),
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("model-load".into()).spawn(load) {
        let _ = slot.set(Err(error.to_string()));
    }
}

impl EmbeddedBackend {
    /// Whether the model is loaded.
    pub fn readiness(&self) -> Readiness {
        match self.slot.get() {
            None => Readiness::Loading,
            Some(Ok(_)) => Readiness::Ready,
            Some(Err(reason)) => Readiness::Failed(reason.clone()),
        }
    }

    /// Blocks until the model is loaded or has failed to.
    pub fn wait(&self) {
        self.slot.wait();
    }

    /// Queues a generation and gives its pieces.
    pub fn complete(&self, request: EngineRequest) -> Result<Deltas, BackendError> {
        let engine = match self.slot.get() {
            None => return Err(BackendError::Loading),
            Some(Err(_)) => return Err(BackendError::Unavailable),
            Some(Ok(engine)) => engine,
        };
        let events = engine.submit(generation(request)).map_err(|error| match error {
            SubmitError::QueueFull => BackendError::Busy,
            SubmitError::Stopped => BackendError::Unavailable,
        })?;
        Ok(pieces(events))
    }
}

fn generation(request: EngineRequest) -> Generation {
    let EngineRequest { turns, max_tokens, temperature, top_p, seed, stop } = request;
    let messages = turns
        .into_iter()
        .map(|turn| engine::Turn {
            role: match turn.role {
                Role::System => engine::Role::System,
                Role::User => engine::Role::User,
                Role::Assistant => engine::Role::Assistant,
            },
            content: turn.content,
        })
        .collect();
    let seed = seed.unwrap_or_else(|| {
        let mut bytes = [0; 8];
        // Without randomness every answer is the same, which is worse than an error only in variety.
        let _ = aws_lc_rs::rand::fill(&mut bytes);
        u64::from_le_bytes(bytes)
    });
    Generation { messages, max_tokens, temperature, top_p, seed, stop }
}

fn pieces(events: tokio::sync::mpsc::Receiver<Event>) -> Deltas {
    let said = futures::stream::unfold(Some(events), |events| async move {
        let mut events = events?;
        Some(match events.recv().await {
            Some(Event::Text(text)) => (Ok(vec![Delta::Text(text)]), Some(events)),
            Some(Event::Finished(finish)) => (Ok(end(&finish)), None),
            Some(Event::Failed(error)) => (Err(engine_error(error)), None),
            None => (Err(BackendError::Failed), None),
        })
    });
    said.map_ok(|deltas| futures::stream::iter(deltas.into_iter().map(Ok))).try_flatten().boxed()
}

fn end(finish: &engine::Finish) -> Vec<Delta> {
    let stop = match finish.reason {
        engine::FinishReason::Stop => StopReason::Done,
        engine::FinishReason::Length => StopReason::Length,
    };
    let (prompt, completion) = (finish.prompt_tokens as u64, finish.completion_tokens as u64);
    vec![Delta::Stop(stop), Delta::Usage(Usage { prompt, cached: 0, completion }), Delta::End]
}

fn engine_error(error: EngineError) -> BackendError {
    match error {
        EngineError::PromptTooLong { .. } => BackendError::TooLong(error.to_string()),
        other => {
            tracing::error!(error = %other, "the embedded engine failed");
            BackendError::Failed
        }
    }
}
