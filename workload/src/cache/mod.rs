//! Answers that are given again to the same question, as far as the policy lets them be.
//!
//! They lie in `layers`, within their room, and each for its time. Whoever asks what somebody is being answered waits for that answer. What is asked
//! is the whole request (`key`): its model's backends, and whoever may share the answer, are a part of it, so that a changed policy
//! gives nothing from before, and no tenant anything of another one.

mod directives;
mod key;
mod layers;
mod recording;
mod rules;
mod worth;

pub use directives::Directives;
pub use recording::Recording;
pub use rules::Asked;

use crate::backend::Endpoint;
use crate::routing::Target;
use crate::store::StoreSettings;
use crate::telemetry::Metrics;
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use codecrucible_contract::Cache as CachePolicy;
use key::{Key, key};
use layers::{Disk, Layers, Memory, Shared};
use recording::Written;
use rules::applying;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use worth::{are_whole_events, is_whole_document};

/// Largest answer that is kept, bytes.
const MAX_KEPT_BYTES: usize = 4 * 1024 * 1024;
/// What became of a request, as it is told, where nothing is kept and its client wants nothing else.
pub const ABSENT: &str = "absent";

/// Kept answers, whatever the policy: one that is changed keeps what it still means.
pub struct AnswerCache {
    layers: ArcSwapOption<Layers>,
    /// Opened once, if ever. Locked while layers are replaced.
    disk: Mutex<Option<Arc<Disk>>>,
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

/// What an answer is, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A JSON document.
    Document(Bytes),
    /// All events of a stream.
    Events(Bytes),
}

impl Content {
    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        let (Self::Document(bytes) | Self::Events(bytes)) = self;
        bytes
    }

    fn is_worth_keeping(&self, endpoint: Endpoint) -> bool {
        let is_whole = || match self {
            Self::Document(document) => is_whole_document(endpoint, document),
            Self::Events(events) => are_whole_events(endpoint, events),
        };
        self.bytes().len() <= MAX_KEPT_BYTES && is_whole()
    }

    /// In memory of its own: what was read may be a piece of something larger, which would be kept with it.
    fn detached(self) -> Self {
        match self {
            Self::Document(document) => Self::Document(Bytes::copy_from_slice(&document)),
            Self::Events(events) => Self::Events(events),
        }
    }
}

/// An answer that was kept.
#[derive(Debug)]
pub struct KeptAnswer {
    /// What it is.
    pub content: Content,
    at: Instant,
    ttl: Duration,
    /// Where it was found first.
    layer: Layer,
}

impl KeptAnswer {
    /// How old it is.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.at)
    }
}

/// What there is at a place.
#[derive(Debug)]
pub enum Look {
    /// An answer that may be given, and where it was.
    Kept(Arc<KeptAnswer>, Layer),
    /// Something that the client does not want.
    Unwanted,
    /// Nothing.
    Absent,
}

/// Where the answer to a request is kept.
#[derive(Clone)]
pub struct Place {
    layers: Arc<Layers>,
    metrics: Arc<Metrics>,
    key: Key,
    endpoint: Endpoint,
    ttl: Duration,
    /// The rule by which it is kept.
    pub rule: Arc<str>,
}

impl AnswerCache {
    /// Nothing kept yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { layers: ArcSwapOption::empty(), disk: Mutex::default(), metrics }
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
                self.layers.rcu(|layers| {
                    let Layers { memory, shared, disk: _ } = &**layers.as_ref()?;
                    let (memory, shared) = (Arc::clone(memory), shared.clone());
                    Some(Arc::new(Layers { memory, shared, disk: disk.clone() }))
                });
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
        Shared::open(settings.clone(), move |outcome| {
            metrics.cache.set_ready(layer, outcome.is_ok());
            match outcome {
                Ok(()) => tracing::info!("replicas share answers in the store"),
                Err(reason) => tracing::warn!(reason, "replicas share no answers: the store does not answer"),
            }
        })
    }

    /// Where the answer to a request is kept, if it is to be.
    pub fn place(
        &self,
        policy: &CachePolicy,
        asked: &Asked<'_>,
        targets: &[&Target],
        body: &str,
    ) -> Option<Place> {
        let (rule, sharers) = applying(policy, asked)?;
        Some(Place {
            layers: self.layers.load_full()?,
            metrics: Arc::clone(&self.metrics),
            key: key(asked, sharers, rule.epoch, targets, body)?,
            endpoint: asked.endpoint,
            ttl: Duration::from_millis(rule.ttl_ms),
            rule: rule.name.as_str().into(),
        })
    }

    /// Whether an answer is there that would be given.
    pub async fn has(place: &Place, now: Instant) -> bool {
        matches!(place.look(Directives::default(), now).await, Look::Kept(..))
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

impl Place {
    /// What is kept there.
    pub async fn look(&self, directives: Directives, now: Instant) -> Look {
        if directives.no_cache {
            return Look::Unwanted;
        }
        let Some((kept, layer)) = self.find(now).await else { return Look::Absent };
        if directives.max_age.is_some_and(|most| kept.age(now) > most) {
            Look::Unwanted
        } else {
            Look::Kept(kept, layer)
        }
    }

    async fn find(&self, now: Instant) -> Option<(Arc<KeptAnswer>, Layer)> {
        let memory = &self.layers.memory;
        match memory.get(&self.key).await {
            Some(kept) if kept.age(now) <= self.ttl => return Some((kept, Layer::Memory)),
            // The policy gave it more time than it gives now.
            Some(_) => memory.forget(&self.key).await,
            None => {}
        }
        if self.layers.is_memory_all() {
            return None;
        }
        let below = async { self.layers.look_below(&self.key, self.ttl, &self.metrics).await.map(Arc::new) };
        let (found, is_from_below) = memory.get_or(self.key, below).await?;
        let layer = if is_from_below { found.layer } else { Layer::Memory };
        Some((found, layer))
    }

    /// For how long an answer is still good.
    pub fn good_for(&self, kept: &KeptAnswer, now: Instant) -> Duration {
        self.ttl.min(kept.ttl).saturating_sub(kept.age(now))
    }

    /// Keeps an answer, if it is worth it.
    pub async fn keep(&self, content: Content) {
        if let Some(answer) = self.kept_answer(content) {
            self.layers.keep_below(self.key, &answer, &self.metrics);
            self.layers.memory.put(self.key, answer).await;
        }
    }

    /// What is kept in memory, or what `ask` comes to, which is kept if it is to be. Of all that ask the same at once only one does; if it leaves, the
    /// next one. Nothing where that one's answer is not to be kept.
    pub async fn answer_or(&self, ask: impl Future<Output = Option<Content>>) -> Option<Arc<KeptAnswer>> {
        let asked = async { self.kept_answer(ask.await?) };
        let (kept, is_new) = self.layers.memory.get_or(self.key, asked).await?;
        if is_new {
            self.layers.keep_below(self.key, &kept, &self.metrics);
        }
        Some(kept)
    }

    fn written(&self) -> &Written {
        &self.layers.memory.written
    }

    fn memory_bytes(&self) -> u64 {
        self.layers.memory.bytes
    }

    fn kept_answer(&self, content: Content) -> Option<Arc<KeptAnswer>> {
        let is_worth_it = content.is_worth_keeping(self.endpoint);
        is_worth_it.then(|| {
            let (content, at, layer) = (content.detached(), Instant::now(), Layer::Memory);
            Arc::new(KeptAnswer { content, at, ttl: self.ttl, layer })
        })
    }
}
