//! Answers in memory. Of what is too much, that goes which is asked for least.

use super::super::KeptAnswer;
use super::super::joined::{Joined, Room, Streams};
use super::super::key::Key;
use super::super::recording::Written;
use futures::FutureExt as _;
use moka::Expiry;
use moka::future::Cache;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What an answer takes beside its own bytes, about.
const OVERHEAD_BYTES: u32 = 512;

pub(in super::super) struct Memory {
    pub(in super::super) bytes: u64,
    pub(in super::super) written: Written,
    streams: Arc<Streams>,
    room: Arc<Room>,
    answers: Cache<Key, Arc<KeptAnswer>>,
}

impl Memory {
    pub(in super::super) fn new(bytes: u64) -> Self {
        let weight = |_: &Key, answer: &Arc<KeptAnswer>| {
            u32::try_from(answer.content.bytes().len()).unwrap_or(u32::MAX).saturating_add(OVERHEAD_BYTES)
        };
        let answers = Cache::builder().max_capacity(bytes).weigher(weight).expire_after(TimeToLive).build();
        let room = Arc::new(Room { held: Written::default(), most: bytes });
        Self { bytes, written: Written::default(), streams: Arc::default(), room, answers }
    }

    pub(in super::super) async fn get(&self, key: &Key) -> Option<Arc<KeptAnswer>> {
        self.answers.get(key).await
    }

    pub(in super::super) async fn put(&self, key: Key, answer: Arc<KeptAnswer>) {
        self.answers.insert(key, answer).await;
    }

    pub(in super::super) async fn forget(&self, key: &Key) {
        self.answers.invalidate(key).await;
    }

    /// What is kept there, or what `make` comes to, which is kept then. Of all that ask for the same at once only one makes it; if it
    /// leaves, the next one. Nothing where that one comes to nothing.
    pub(in super::super) async fn get_or(
        &self,
        key: Key,
        make: impl Future<Output = Option<Arc<KeptAnswer>>>,
    ) -> Option<Arc<KeptAnswer>> {
        let together = AssertUnwindSafe(self.answers.optionally_get_with(key, make));
        // Where hundreds left before whoever waits had its turn, the library panics; such a one had better ask by itself.
        together.catch_unwind().await.unwrap_or_default()
    }

    /// Joins whoever is streamed the same, or is the first to be.
    pub(in super::super) async fn join(&self, key: Key) -> Joined {
        self.streams.join(key, &self.room).await
    }

    /// What is kept there, or what is found below, which is kept then. All who look at once do so together, and apart from those who wait for an answer.
    pub(in super::super) async fn get_or_find(
        &self,
        key: Key,
        find: impl Future<Output = Option<Arc<KeptAnswer>>>,
    ) -> Option<Arc<KeptAnswer>> {
        let find = async { find.await.ok_or(NotFound) };
        let together = AssertUnwindSafe(self.answers.try_get_with(key, find));
        together.catch_unwind().await.ok()?.ok()
    }

    /// How many there are, and what they take, bytes.
    pub(in super::super) async fn measure(&self) -> (u64, u64) {
        // What has expired, or is too much, goes late.
        self.answers.run_pending_tasks().await;
        (self.answers.entry_count(), self.answers.weighted_size())
    }
}

/// Nothing is below either.
struct NotFound;

/// Each answer has a time of its own.
struct TimeToLive;

impl Expiry<Key, Arc<KeptAnswer>> for TimeToLive {
    fn expire_after_create(&self, _: &Key, answer: &Arc<KeptAnswer>, now: Instant) -> Option<Duration> {
        Some(answer.ttl.saturating_sub(answer.age(now)))
    }

    fn expire_after_update(
        &self,
        key: &Key,
        answer: &Arc<KeptAnswer>,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, answer, now)
    }
}
