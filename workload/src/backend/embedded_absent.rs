//! Stands in for the embedded engine in builds without it: such backends fail, and say so.

use super::{BackendError, Deltas, Readiness};
use crate::dialects::embedded::EngineRequest;
use codecrucible_contract::Embedded;

/// No engines.
#[derive(Clone, Default)]
pub struct Engines(());

/// A backend that this build cannot serve.
pub struct EmbeddedBackend;

impl Engines {
    /// A backend that fails.
    pub fn backend(&self, _: &Embedded) -> EmbeddedBackend {
        EmbeddedBackend
    }
}

impl EmbeddedBackend {
    /// Always failed.
    pub fn readiness(&self) -> Readiness {
        Readiness::Failed("this build has no embedded engine".into())
    }

    /// Nothing to wait for.
    pub fn wait(&self) {}

    /// Always unavailable.
    pub fn complete(&self, _: EngineRequest) -> Result<Deltas, BackendError> {
        Err(BackendError::Unavailable)
    }
}
