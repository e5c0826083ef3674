//! Where answers are kept: in memory, and below it on a disk of the replica and in a store that all replicas share. What is found below is kept in memory
//! from then on. What is below may fail at any time: then it is as if nothing were there.

mod disk;
mod memory;
mod shared;
mod stored;

pub(super) use disk::Disk;
pub(super) use memory::Memory;
pub(super) use shared::Shared;

use super::key::Key;
use super::{KeptAnswer, Layer};
use crate::telemetry::Metrics;
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use stored::{parse, stored};

/// All that there are, as the policy says.
#[derive(Clone)]
pub(super) struct Layers {
    pub(super) memory: Arc<Memory>,
    pub(super) disk: Option<Arc<Disk>>,
    pub(super) shared: Option<Arc<Shared>>,
}

impl Layers {
    pub(super) fn is_memory_all(&self) -> bool {
        self.disk.is_none() && self.shared.is_none()
    }

    /// What lies below memory and is no older than this. The nearest is asked first.
    pub(super) async fn look_below(
        &self,
        key: &Key,
        oldest: Duration,
        metrics: &Metrics,
    ) -> Option<(KeptAnswer, Layer)> {
        if let Some(disk) = &self.disk
            && let found @ Some(_) = look(Layer::Disk, disk.get(key), oldest, metrics).await
        {
            return found;
        }
        let shared = self.shared.as_ref().filter(|shared| shared.is_connected())?;
        look(Layer::Redis, shared.get(key), oldest, metrics).await
    }

    /// Keeps it below memory too, beside the request.
    pub(super) fn keep_below(&self, key: Key, answer: &KeptAnswer, metrics: &Arc<Metrics>) {
        if self.is_memory_all() {
            return;
        }
        let now = Instant::now();
        let good_for = answer.ttl.saturating_sub(answer.age(now));
        let bytes: Bytes = stored(answer, now, SystemTime::now()).into();
        if let Some(disk) = &self.disk {
            count(metrics, Layer::Disk, disk.put(key, bytes.clone()));
        }
        if let Some(shared) = &self.shared {
            let metrics = Arc::clone(metrics);
            shared.put(&key, bytes, good_for, move |is_kept| count(&metrics, Layer::Redis, is_kept));
        }
    }
}

fn count(metrics: &Metrics, layer: Layer, is_kept: bool) {
    let outcome = if is_kept { "kept" } else { "dropped" };
    metrics.cache.written.with_label_values(&[layer.as_str(), outcome]).inc();
}

/// A layer does not answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unanswered;

async fn look(
    layer: Layer,
    asked: impl Future<Output = Result<Option<Bytes>, Unanswered>>,
    oldest: Duration,
    metrics: &Metrics,
) -> Option<(KeptAnswer, Layer)> {
    let begin = Instant::now();
    let answer = asked.await;
    let found = answer.as_ref().ok().and_then(Option::as_ref);
    let found = found.and_then(|bytes| parse(bytes, Instant::now(), SystemTime::now()));
    let found = found.filter(|found| found.age(Instant::now()) <= oldest.min(found.ttl));
    let outcome = match (&answer, &found) {
        (_, Some(_)) => "hit",
        (Ok(_), None) => "miss",
        (Err(Unanswered), None) => "failed",
    };
    let seconds = metrics.cache.below_seconds.with_label_values(&[layer.as_str(), outcome]);
    seconds.observe(begin.elapsed().as_secs_f64());
    Some((found?, layer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Content;

    const SECOND: Duration = Duration::from_secs(1);

    /// Layers with an answer on the disk that is ten seconds old and good for a minute.
    async fn with_answer(folder: &std::path::Path, metrics: &Arc<Metrics>) -> Layers {
        let disk = Disk::open(folder, 64 << 20).await.unwrap();
        let layers =
            Layers { memory: Arc::new(Memory::new(1 << 20)), disk: Some(Arc::new(disk)), shared: None };
        let (content, at) = (Content::Document(Bytes::from("{}")), Instant::now() - 10 * SECOND);
        let answer = KeptAnswer { content, at, ttl: 60 * SECOND };
        layers.keep_below([1; 32], &answer, metrics);
        layers
    }

    #[tokio::test]
    async fn what_is_below_is_no_older_than_is_wanted_now() {
        let (folder, metrics) = (tempfile::tempdir().unwrap(), Arc::new(Metrics::new().unwrap()));
        let layers = with_answer(folder.path(), &metrics).await;
        let (found, layer) = layers.look_below(&[1; 32], 11 * SECOND, &metrics).await.unwrap();
        assert_eq!((layer, found.ttl), (Layer::Disk, 60 * SECOND));
        assert!((10 * SECOND..11 * SECOND).contains(&found.age(Instant::now())));
        assert!(layers.look_below(&[1; 32], 9 * SECOND, &metrics).await.is_none());
        assert!(layers.look_below(&[2; 32], 60 * SECOND, &metrics).await.is_none());
    }
}
