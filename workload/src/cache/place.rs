//! Where the answer to one request is kept: what is found there, what is put there, and who asks meanwhile.

use super::Layer;
use super::answer::{Content, KeptAnswer};
use super::directives::Directives;
use super::joined::Joined;
use super::key::Key;
use super::layers::Layers;
use super::recording::Written;
use super::rules::Rule;
use crate::backend::Endpoint;
use crate::telemetry::Metrics;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
    pub(super) layers: Arc<Layers>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) key: Key,
    pub(super) endpoint: Endpoint,
    /// The rule by which it is kept.
    pub rule: Arc<Rule>,
}

impl Place {
    /// Whether an answer is there that would be given.
    pub async fn has(&self, now: Instant) -> bool {
        matches!(self.look(Directives::default(), now).await, Look::Kept(..))
    }

    /// Whether it is in memory, without a look below.
    pub async fn is_in_memory(&self, now: Instant) -> bool {
        self.layers.memory.get(&self.key).await.is_some_and(|kept| kept.age(now) <= self.rule.ttl())
    }

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
            Some(kept) if kept.age(now) <= self.rule.ttl() => return Some((kept, Layer::Memory)),
            // The policy gave it more time than it gives now.
            Some(_) => memory.forget(&self.key).await,
            None => {}
        }
        if self.layers.is_memory_all() {
            return None;
        }
        let mut layer = Layer::Memory;
        let below = async {
            let (found, at) = self.layers.look_below(&self.key, self.rule.ttl(), &self.metrics).await?;
            layer = at;
            Some(Arc::new(found))
        };
        Some((memory.get_or_find(self.key, below).await?, layer))
    }

    /// For how long an answer is still good.
    pub fn good_for(&self, kept: &KeptAnswer, now: Instant) -> Duration {
        self.rule.ttl().min(kept.ttl).saturating_sub(kept.age(now))
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
        let asked = async {
            let answer = self.kept_answer(ask.await?)?;
            self.layers.keep_below(self.key, &answer, &self.metrics);
            Some(answer)
        };
        self.layers.memory.get_or(self.key, asked).await
    }

    /// Joins whoever is streamed the same, or is the first to be.
    pub async fn join(&self) -> Joined {
        self.layers.memory.join(self.key).await
    }

    pub(super) fn written(&self) -> &Written {
        &self.layers.memory.written
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.layers.memory.bytes
    }

    fn kept_answer(&self, content: Content) -> Option<Arc<KeptAnswer>> {
        let is_worth_it = content.is_worth_keeping(self.endpoint);
        is_worth_it.then(|| {
            let (content, at) = (content.detached(), Instant::now());
            Arc::new(KeptAnswer { content, at, ttl: self.rule.ttl() })
        })
    }
}
