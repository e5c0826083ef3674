//! Answers that are given again to the same question, as far as the policy lets them be.
//!
//! They lie in memory, within its room, and each for its time. Whoever asks what somebody is being answered waits for that answer. What is asked
//! is the whole request (`key`): its model's backends, and whoever may share the answer, are a part of it, so that a changed policy
//! gives nothing from before, and no tenant anything of another one.

mod directives;
mod key;
mod recording;
mod rules;
mod worth;

pub use directives::Directives;
pub use recording::Recording;
pub use rules::Asked;

use crate::backend::Endpoint;
use crate::routing::Target;
use crate::telemetry::Metrics;
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use codecrucible_contract::Cache as CachePolicy;
use futures::FutureExt as _;
use key::{Key, key};
use moka::Expiry;
use moka::future::Cache;
use recording::Written;
use rules::applying;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use worth::{are_whole_events, is_whole_document};

/// Largest answer that is kept, bytes.
const MAX_KEPT_BYTES: usize = 4 * 1024 * 1024;
/// What became of a request, as it is told, where nothing is kept and its client wants nothing else.
pub const ABSENT: &str = "absent";
/// What an answer takes beside its own bytes, about.
const OVERHEAD_BYTES: u32 = 512;

/// Kept answers, whatever the policy: one that is changed keeps what it still means.
pub struct AnswerCache {
    kept: ArcSwapOption<Kept>,
    metrics: Arc<Metrics>,
}

struct Kept {
    memory_bytes: u64,
    answers: Cache<Key, Arc<KeptAnswer>>,
    written: Written,
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
    /// An answer that may be given.
    Kept(Arc<KeptAnswer>),
    /// Something that the client does not want.
    Unwanted,
    /// Nothing.
    Absent,
}

/// Where the answer to a request is kept.
#[derive(Clone)]
pub struct Place {
    kept: Arc<Kept>,
    key: Key,
    endpoint: Endpoint,
    ttl: Duration,
    /// The rule by which it is kept.
    pub rule: Arc<str>,
}

impl AnswerCache {
    /// Nothing kept yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { kept: ArcSwapOption::empty(), metrics }
    }

    /// From now on this much is kept; what there is stays, unless it may take another room.
    pub fn follow(&self, policy: Option<&CachePolicy>) {
        let memory_bytes = policy.map(|policy| policy.memory_bytes);
        if self.kept.load().as_ref().map(|kept| kept.memory_bytes) != memory_bytes {
            self.kept.store(memory_bytes.map(|bytes| Arc::new(Kept::new(bytes))));
        }
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
            kept: self.kept.load_full()?,
            key: key(asked, sharers, rule.epoch, targets, body)?,
            endpoint: asked.endpoint,
            ttl: Duration::from_millis(rule.ttl_ms),
            rule: rule.name.as_str().into(),
        })
    }

    /// Whether an answer is there that would be given.
    pub async fn has(place: &Place, now: Instant) -> bool {
        matches!(place.look(Directives::default(), now).await, Look::Kept(_))
    }

    /// Tells how much is kept.
    pub async fn measure(&self) {
        let kept = self.kept.load_full();
        let (count, bytes) = match &kept {
            Some(kept) => {
                // What has expired, or is too much, goes late.
                kept.answers.run_pending_tasks().await;
                (kept.answers.entry_count(), kept.answers.weighted_size())
            }
            None => (0, 0),
        };
        self.metrics.cache.hold(count, bytes);
    }
}

impl Kept {
    fn new(memory_bytes: u64) -> Self {
        let weight = |_: &Key, answer: &Arc<KeptAnswer>| {
            u32::try_from(answer.content.bytes().len()).unwrap_or(u32::MAX).saturating_add(OVERHEAD_BYTES)
        };
        let answers =
            Cache::builder().max_capacity(memory_bytes).weigher(weight).expire_after(TimeToLive).build();
        Self { memory_bytes, answers, written: Written::default() }
    }
}

/// Each answer has a time of its own.
struct TimeToLive;

impl Expiry<Key, Arc<KeptAnswer>> for TimeToLive {
    fn expire_after_create(&self, _: &Key, answer: &Arc<KeptAnswer>, _: Instant) -> Option<Duration> {
        Some(answer.ttl)
    }

    fn expire_after_update(
        &self,
        _: &Key,
        answer: &Arc<KeptAnswer>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(answer.ttl)
    }
}

impl Place {
    /// What is kept there.
    pub async fn look(&self, directives: Directives, now: Instant) -> Look {
        if directives.no_cache {
            return Look::Unwanted;
        }
        let Some(kept) = self.kept.answers.get(&self.key).await else { return Look::Absent };
        let age = kept.age(now);
        if age > self.ttl {
            // The policy gave it more time than it gives now.
            self.kept.answers.invalidate(&self.key).await;
            Look::Absent
        } else if directives.max_age.is_some_and(|most| age > most) {
            Look::Unwanted
        } else {
            Look::Kept(kept)
        }
    }

    /// For how long an answer is still good.
    pub fn good_for(&self, kept: &KeptAnswer, now: Instant) -> Duration {
        self.ttl.min(kept.ttl).saturating_sub(kept.age(now))
    }

    /// Keeps an answer, if it is worth it.
    pub async fn keep(&self, content: Content) {
        if let Some(answer) = self.kept_answer(content) {
            self.kept.answers.insert(self.key, answer).await;
        }
    }

    /// What is kept there, or what `ask` comes to, which is kept if it is to be. Of all that ask the same at once only one does; if it leaves, the next one.
    /// Nothing where that one's answer is not to be kept.
    pub async fn answer_or(&self, ask: impl Future<Output = Option<Content>>) -> Option<Arc<KeptAnswer>> {
        let kept = async { self.kept_answer(ask.await?) };
        let together = AssertUnwindSafe(self.kept.answers.optionally_get_with(self.key, kept));
        // Where hundreds left before whoever waits had its turn, the library panics; such a one had better ask by itself.
        together.catch_unwind().await.unwrap_or_default()
    }

    fn written(&self) -> &Written {
        &self.kept.written
    }

    fn memory_bytes(&self) -> u64 {
        self.kept.memory_bytes
    }

    fn kept_answer(&self, content: Content) -> Option<Arc<KeptAnswer>> {
        let is_worth_it = content.is_worth_keeping(self.endpoint);
        is_worth_it
            .then(|| Arc::new(KeptAnswer { content: content.detached(), at: Instant::now(), ttl: self.ttl }))
    }
}
