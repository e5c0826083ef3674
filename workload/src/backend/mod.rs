//! Where models answer.
//!
//! A backend answers in two ways: [`remote::RemoteBackend::forward`] hands bytes through unread, for clients that speak its protocol;
//! [`Backend::ask`] gives pieces of an answer, from remote and embedded models alike, for synthesis and for all other clients.

mod begun;
mod breaker;
mod chat;
mod connections;
mod deadline;
#[cfg_attr(not(feature = "embedded-engine"), path = "embedded_absent.rs")]
mod embedded;
mod endpoint;
mod error;
mod health;
mod lines;
mod patience;
mod remote;
mod room;
mod sse;

pub use begun::Begun;
pub use chat::{Deltas, Refusal, Said};
pub use deadline::Deadline;
pub use embedded::{EmbeddedBackend, Engines};
pub use endpoint::{Endpoint, StreamEnd};
pub use error::{BackendError, Retry, SetupError};
pub use health::{Health, InFlight, TOTAL_TIMEOUT};
pub(crate) use remote::seconds;
pub use remote::{Answer, MAX_ANSWER_BYTES, RemoteBackend, Told};
pub use room::{Full, Occupancy, Room, Slot};
pub use sse::{EventReader, EventSplitter, data_line};

use crate::dialects::{Chat, anthropic, embedded as engine, ollama};
use crate::request_error::RequestError;
use crate::telemetry::AttemptCounters;
use codecrucible_contract::{self as contract, BackendKind, Protocol, Timeouts};
use futures::StreamExt as _;
use std::sync::Arc;
use tokio::time::Instant;

/// One place where models answer.
pub struct Backend {
    name: String,
    identity: String,
    timeouts: Timeouts,
    health: Arc<Health>,
    attempts: AttemptCounters,
    kind: Kind,
}

/// How a backend answers.
#[allow(clippy::large_enum_variant, reason = "there are a few, and they live long")]
pub enum Kind {
    /// Over HTTP.
    Remote(RemoteBackend),
    /// In this process.
    Embedded(EmbeddedBackend),
}

fn identity(backend: &contract::Backend) -> String {
    let kind = serde_json::to_value(&backend.kind).unwrap_or_default();
    contract::sha256_hex(format!("{}\n{}", backend.name, contract::canonical(&kind)).as_bytes())
}

impl Backend {
    /// Builds the backend that a policy describes. Embedded models start loading, unless they are loaded.
    pub fn new(
        backend: &contract::Backend,
        credential: Option<&str>,
        engines: &Engines,
    ) -> Result<Self, SetupError> {
        let kind = match &backend.kind {
            BackendKind::Remote(remote) => {
                let protocol = remote.protocol.clone();
                Kind::Remote(RemoteBackend::new(&remote.url, protocol, credential, backend.timeouts)?)
            }
            BackendKind::Embedded(embedded) => Kind::Embedded(engines.backend(embedded)),
        };
        let health = Health::new(&backend.name, backend.circuit_breaker);
        let identity = identity(backend);
        let (name, timeouts, attempts) = (backend.name.clone(), backend.timeouts, AttemptCounters::default());
        Ok(Self { name, identity, timeouts, health, attempts, kind })
    }

    /// The name in the policy.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it speaks, by the name that OpenTelemetry's conventions have for it.
    pub fn provider(&self) -> &'static str {
        match &self.kind {
            Kind::Embedded(_) => "codecrucible",
            Kind::Remote(remote) => match remote.protocol() {
                Protocol::OpenAi => "openai",
                Protocol::Anthropic => "anthropic",
                Protocol::Ollama(_) => "ollama",
            },
        }
    }

    /// How it does, in a word.
    pub fn condition(&self, now: Instant) -> &'static str {
        match self.readiness() {
            Readiness::Loading => "loading",
            Readiness::Failed(_) => "failed",
            Readiness::Ready if self.health.is_resting(now) => "resting",
            Readiness::Ready => "ready",
        }
    }

    /// What tells it from all others that ever were: its name, and where and what answers.
    pub fn identity(&self) -> &[u8] {
        self.identity.as_bytes()
    }

    /// How long each phase of a request to it may take.
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// How it does.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Where it is counted what came of attempts at it.
    pub fn attempts(&self) -> &AttemptCounters {
        &self.attempts
    }

    /// How it answers.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Whether a request is worth sending: a remote one is asked, an embedded one must be loaded.
    pub fn readiness(&self) -> Readiness {
        match &self.kind {
            Kind::Remote(_) => Readiness::Ready,
            Kind::Embedded(embedded) => embedded.readiness(),
        }
    }

    /// Blocks until the backend is ready or has failed.
    pub fn wait(&self) {
        if let Kind::Embedded(embedded) = &self.kind {
            embedded.wait();
        }
    }

    /// What of a chat it cannot do, if anything.
    pub fn unsupported(&self, chat: &Chat) -> Option<RequestError> {
        match &self.kind {
            Kind::Embedded(_) => engine::request(chat).err(),
            Kind::Remote(remote) => match remote.protocol() {
                Protocol::OpenAi => None,
                Protocol::Anthropic => anthropic::unsupported(chat),
                Protocol::Ollama(_) => ollama::unsupported(chat),
            },
        }
    }

    /// Asks a model, by the backend's own name of it, and reads its answer piece by piece, within a deadline. Gives it once its first piece has come.
    pub async fn ask(
        &self,
        chat: &Chat,
        model: &str,
        told: Told<'_>,
        deadline: Deadline,
    ) -> Result<Said, BackendError> {
        let mut answer = match &self.kind {
            Kind::Remote(remote) => match chat::ask(remote, chat, model, told, deadline).await? {
                Said::Answer(answer) => answer,
                refusal @ Said::Refusal(_) => return Ok(refusal),
            },
            Kind::Embedded(embedded) => {
                // Synthesis asks for nothing that it cannot do, and the gateway has looked.
                let request = engine::request(chat).map_err(|_| BackendError::Failed)?;
                patience::within(embedded.complete(request)?, deadline, deadline.first_byte())
            }
        };
        let first = answer.next().await.ok_or(BackendError::Cut)??;
        Ok(Said::Answer(futures::stream::iter([Ok(first)]).chain(answer).boxed()))
    }
}

/// Whether a backend can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It can, as far as is known.
    Ready,
    /// It will.
    Loading,
    /// It cannot, for this reason.
    Failed(String),
}
