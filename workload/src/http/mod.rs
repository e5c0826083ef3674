//! The HTTP surface: the only part that knows axum.

mod admin;
mod authentication;
mod body;
mod chat;
mod error;
mod identifiers;
mod listener;
mod models;
mod oauth;
mod router;
mod synthesis;

pub use listener::{Listener, Shutdown};
pub use router::{admin_router, public_router};

use crate::snapshot::Snapshot;
use crate::telemetry::Metrics;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;

/// Synthesis requests that run at once; each holds several backends' answers in memory.
const MAX_CONCURRENT_SYNTHESES: usize = 64;

/// What every handler shares. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    snapshot: Arc<ArcSwap<Snapshot>>,
    metrics: Arc<Metrics>,
    draining: Arc<AtomicBool>,
    syntheses: Arc<Semaphore>,
}

impl Service {
    /// A service on a first snapshot.
    pub fn new(snapshot: Snapshot, metrics: Arc<Metrics>) -> Self {
        Self {
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            metrics,
            draining: Arc::default(),
            syntheses: Arc::new(Semaphore::new(MAX_CONCURRENT_SYNTHESES)),
        }
    }

    /// The snapshot that serves now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Replaces the snapshot; requests that have one keep theirs.
    pub fn replace_snapshot(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    /// From now on not ready, so that load balancers turn away.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
