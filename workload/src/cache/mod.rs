//! Answers that are given again to the same question, as far as the policy lets them be.
//!
//! They lie in `layers`, within their room, and each for its time. Whoever asks what somebody is being answered waits for that answer. What is asked
//! is the whole request (`key`): its model's backends, and whoever may share the answer, are a part of it, so that a changed policy
//! gives nothing from before, and no tenant anything of another one.

mod answer;
mod directives;
#[cfg(test)]
mod fixtures;
mod joined;
mod key;
mod layers;
mod place;
mod recording;
mod rules;
mod worth;

pub use answer::{Content, KeptAnswer};
pub use directives::Directives;
pub use joined::{Joined, Reader};
pub use place::{Look, Place};
pub use recording::Recording;
pub use rules::{Asked, CacheRules};

use crate::routing::Target;
use crate::store::{Newest, StoreSettings};
use crate::telemetry::Metrics;
use arc_swap::ArcSwapOption;
use codecrucible_contract::Cache as CachePolicy;
use key::key;
use layers::{Disk, Layers, Memory, Shared};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Pause between two looks at the disk.
const LOOK_AT_DISK_EVERY: Duration = Duration::from_secs(60);
/// What became of a request, as it is told, where nothing is kept and its client wants nothing else.
pub const ABSENT: &str = "absent";

/// Kept answers, whatever the policy: one that is changed keeps what it still means.
pub struct AnswerCache {
    layers: ArcSwapOption<Layers>,
    /// Opened once, if ever. Locked while layers are replaced.
    disk: Mutex<Option<Arc<Disk>>>,
    /// Which store is told of.
    stores: Newest,
    metrics: Arc<Metrics>,
}

/// Where an answer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// In memory.
    Memory,
    /// On a disk of the replica.
    Disk,
    /// In a store that replicas share.
    Redis,
}

impl Layer {
    /// As it is told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Redis => "redis",
        }
    }
}

impl AnswerCache {
    /// Nothing kept yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { layers: ArcSwapOption::empty(), disk: Mutex::default(), stores: Newest::default(), metrics }
    }

    /// From now on this much is kept; what there is stays, unless it may take another room. Needs a runtime where there is a store.
    pub fn follow(&self, policy: Option<&CachePolicy>, store: Option<&StoreSettings>) {
        let (disk, before) = (self.disk(), self.layers.load_full());
        let memory = |bytes| match &before {
            Some(before) if before.memory.bytes == bytes => Arc::clone(&before.memory),
            _ => Arc::new(Memory::new(bytes)),
        };
        let shared =
            |settings: &StoreSettings| match before.as_ref().and_then(|before| before.shared.as_ref()) {
                Some(shared) if shared.settings() == settings => Arc::clone(shared),
                _ => Arc::new(self.open_shared(settings)),
            };
        if store.is_none() {
            // Whichever is there is not told of any more.
            let _ = self.stores.next();
            self.metrics.cache.forget_ready(Layer::Redis.as_str());
        }
        self.layers.store(policy.map(|policy| {
            let (memory, shared) = (memory(policy.memory_bytes), store.map(shared));
            Arc::new(Layers { memory, disk: disk.clone(), shared })
        }));
    }

    /// Keeps answers on a disk too, as soon as what is there is found again.
    pub async fn open_disk(&self, folder: &Path, bytes: usize) {
        let layer = Layer::Disk.as_str();
        let begin = Instant::now();
        match Disk::open(folder, bytes).await {
            Ok(disk) => {
                let disk = Some(Arc::new(disk));
                let mut opened = self.disk();
                opened.clone_from(&disk);
                if let Some(layers) = self.layers.load_full() {
                    self.layers.store(Some(Arc::new(Layers { disk, ..Layers::clone(&layers) })));
                }
                self.metrics.cache.set_ready(layer, true);
                let after_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
                tracing::info!(bytes, after_ms, "answers are kept on the disk");
            }
            Err(error) => {
                self.metrics.cache.set_ready(layer, false);
                tracing::warn!(error, "no answers are kept on the disk");
            }
        }
    }

    /// Waits for the store that replicas share, if there is one.
    pub async fn connected(&self) {
        if let Some(shared) = self.layers.load_full().and_then(|layers| layers.shared.clone()) {
            shared.connected().await;
        }
    }

    /// The same, tried again until it can be opened; and looks now and then whether the disk still takes and gives. Never ends; `tried` goes once it was
    /// tried.
    pub async fn keep_disk(&self, folder: &Path, bytes: usize, tried: oneshot::Sender<()>) {
        let mut tried = Some(tried);
        let disk = loop {
            self.open_disk(folder, bytes).await;
            drop(tried.take());
            let opened = self.disk().clone();
            match opened {
                Some(disk) => break disk,
                None => tokio::time::sleep(LOOK_AT_DISK_EVERY).await,
            }
        };
        let mut worked = true;
        loop {
            tokio::time::sleep(LOOK_AT_DISK_EVERY).await;
            let works = disk.works().await;
            self.metrics.cache.set_ready(Layer::Disk.as_str(), works);
            if worked && !works {
                tracing::warn!("the disk does not keep what it is given");
            }
            worked = works;
        }
    }

    /// Waits until what was kept last is on the disk.
    pub async fn settle(&self) {
        let disk = self.disk().clone();
        if let Some(disk) = disk {
            disk.settle().await;
        }
    }

    fn disk(&self) -> MutexGuard<'_, Option<Arc<Disk>>> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_shared(&self, settings: &StoreSettings) -> Shared {
        let (metrics, layer) = (Arc::clone(&self.metrics), Layer::Redis.as_str());
        metrics.cache.set_ready(layer, false);
        let is_newest = self.stores.next();
        Shared::open(settings.clone(), move |outcome| {
            if !is_newest() {
                return;
            }
            metrics.cache.set_ready(layer, outcome.is_ok());
            match outcome {
                Ok(()) => tracing::info!("replicas share answers in the Redis of the cache"),
                Err(reason) => {
                    tracing::warn!(reason, "replicas share no answers: the Redis of the cache cannot be used")
                }
            }
        })
    }

    /// Where the answer to a request is kept, if it is to be.
    pub fn place(
        &self,
        rules: &CacheRules,
        asked: &Asked<'_>,
        targets: &[&Target],
        body: &str,
    ) -> Option<Place> {
        let (rule, sharers) = rules.applying(asked)?;
        Some(Place {
            layers: self.layers.load_full()?,
            metrics: Arc::clone(&self.metrics),
            key: key(asked, sharers, rule.policy.epoch, targets, body)?,
            endpoint: asked.endpoint,
            rule: Arc::clone(rule),
        })
    }

    /// Tells how much is kept in memory.
    pub async fn measure(&self) {
        let (count, bytes) = match self.layers.load_full() {
            Some(layers) => layers.memory.measure().await,
            None => (0, 0),
        };
        self.metrics.cache.hold(count, bytes);
    }
}
