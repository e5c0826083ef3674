//! Who waits to be looked at, for the metric that tells when the operator does not keep up. The library that schedules reconciles does
//! not say, so it is noted where one is asked for, and where one begins.

use super::Shown;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};
use prometheus::IntGauge;
use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Resources of one kind that something has happened to since they were looked at last. Those that are only due later do not wait.
pub(super) struct Queue {
    hashes: RandomState,
    waiting: Mutex<HashSet<u64>>,
    depth: IntGauge,
}

impl Queue {
    pub(super) fn new(depth: IntGauge) -> Self {
        Self { hashes: RandomState::new(), waiting: Mutex::default(), depth }
    }

    /// Notes that a resource is to be looked at.
    pub(super) fn join<K: Resource>(&self, who: &ObjectRef<K>) {
        let mut waiting = self.waiting();
        waiting.insert(self.hash(who));
        self.tell(&waiting);
    }

    /// Notes that it is looked at, or need not be any more.
    pub(super) fn leave<K: Resource>(&self, who: &ObjectRef<K>) {
        let mut waiting = self.waiting();
        waiting.remove(&self.hash(who));
        self.tell(&waiting);
    }

    /// How many wait.
    pub(super) fn length(&self) -> u64 {
        self.waiting().len() as u64
    }

    /// Those whom something concerns, who now wait.
    pub(super) fn of<K: Resource>(&self, who: Vec<ObjectRef<K>>) -> Vec<ObjectRef<K>> {
        who.iter().for_each(|who| self.join(who));
        who
    }

    /// What a watch of the resources themselves brings.
    pub(super) fn of_shown<K, S>(self: &Arc<Self>, shown: S) -> impl Stream<Item = Shown<K>> + use<K, S>
    where
        K: Resource<DynamicType = ()>,
        S: Stream<Item = Shown<K>>,
    {
        let queue = Arc::clone(self);
        shown.inspect_ok(move |resource| queue.join(&ObjectRef::from_obj(resource)))
    }

    /// Those whom another controller wakes.
    pub(super) fn of_woken<K, S>(self: &Arc<Self>, woken: S) -> impl Stream<Item = ObjectRef<K>> + use<K, S>
    where
        K: Resource,
        S: Stream<Item = ObjectRef<K>>,
    {
        let queue = Arc::clone(self);
        woken.inspect(move |who| queue.join(who))
    }

    /// Each time that all of them are to be looked at.
    pub(super) fn of_relists<K, S>(
        self: &Arc<Self>,
        relists: S,
        all: Store<K>,
    ) -> impl Stream<Item = ()> + use<K, S>
    where
        K: Resource<DynamicType = ()> + Clone + 'static,
        S: Stream<Item = ()>,
    {
        let queue = Arc::clone(self);
        relists.inspect(move |()| all.state().iter().for_each(|one| queue.join(&ObjectRef::from_obj(&**one))))
    }

    fn hash<K: Resource>(&self, who: &ObjectRef<K>) -> u64 {
        self.hashes.hash_one((&who.namespace, &who.name))
    }

    fn tell(&self, waiting: &HashSet<u64>) {
        self.depth.set(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
    }

    fn waiting(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures::backend;
    use codecrucible_crds::ModelBackend;
    use futures::stream;
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;

    #[test]
    fn each_waits_once_until_it_is_looked_at() {
        let depth = IntGauge::new("depth", "depth").unwrap();
        let queue = Queue::new(depth.clone());
        let who = |name: &str, namespace: &str| ObjectRef::<ModelBackend>::new(name).within(namespace);
        for (name, namespace) in [("a", "x"), ("a", "y"), ("b", "x"), ("a", "x")] {
            queue.join(&who(name, namespace));
        }
        assert_eq!(depth.get(), 3);
        queue.leave(&who("a", "x"));
        queue.leave(&who("nobody", "x"));
        assert_eq!(depth.get(), 2);
    }
    #[tokio::test]
    async fn whoever_is_shown_woken_or_listed_again_waits() {
        let depth = IntGauge::new("depth", "depth").unwrap();
        let queue = Arc::new(Queue::new(depth.clone()));
        let named = |name: &str| backend(name, json!({"type": "OpenAI", "models": []}));
        let (store, mut writer) = reflector::store::<ModelBackend>();
        for name in ["listed", "shown"] {
            writer.apply_watcher_event(&Event::Apply(named(name)));
        }
        queue.of_shown(stream::iter([Ok(named("shown"))])).for_each(|_| async {}).await;
        assert_eq!(depth.get(), 1);
        let woken = stream::iter([ObjectRef::<ModelBackend>::new("woken")]);
        queue.of_woken(woken).for_each(|_| async {}).await;
        assert_eq!(depth.get(), 2);
        queue.of_relists(stream::iter([()]), store).for_each(|()| async {}).await;
        assert_eq!(depth.get(), 3);
        assert_eq!(queue.of(vec![ObjectRef::<ModelBackend>::new("concerned")]).len(), 1);
        assert_eq!(depth.get(), 4);
    }
}
