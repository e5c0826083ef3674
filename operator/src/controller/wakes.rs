//! Who is to be looked at because of what another controller saw: each waits at most once, so that there is no more to
//! remember than there are resources.

use futures::{Stream, stream};
use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Those who wait.
pub(super) struct Wakes<K: Resource>
where
    K::DynamicType: Eq + Hash,
{
    waiting: Mutex<HashSet<ObjectRef<K>>>,
    more: Notify,
}

impl<K> Wakes<K>
where
    K: Resource<DynamicType = ()> + 'static,
{
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), more: Notify::new() })
    }

    /// Has a resource looked at.
    pub(super) fn wake(&self, reference: ObjectRef<K>) {
        self.waiting().insert(reference);
        self.more.notify_one();
    }

    /// Those who are to be looked at, for one controller.
    pub(super) fn woken(self: Arc<Self>) -> impl Stream<Item = ObjectRef<K>> + Send {
        stream::unfold(self, |wakes| async {
            loop {
                if let Some(reference) = wakes.take_one() {
                    return Some((reference, wakes));
                }
                wakes.more.notified().await;
            }
        })
    }

    fn take_one(&self) -> Option<ObjectRef<K>> {
        let mut waiting = self.waiting();
        let reference = waiting.iter().next()?.clone();
        waiting.take(&reference)
    }

    fn waiting(&self) -> MutexGuard<'_, HashSet<ObjectRef<K>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecrucible_crds::ModelBackend;
    use futures::{FutureExt as _, StreamExt as _};

    #[tokio::test]
    async fn each_is_woken_once_for_any_number_of_reasons_and_again_later() {
        let wakes = Wakes::<ModelBackend>::new();
        let mut woken = Box::pin(Arc::clone(&wakes).woken());
        for name in ["a", "b", "a"] {
            wakes.wake(ObjectRef::new(name));
        }
        let mut names = [woken.next().await.unwrap().name, woken.next().await.unwrap().name];
        names.sort();
        assert_eq!(names, ["a", "b"]);
        assert!(woken.next().now_or_never().is_none());
        wakes.wake(ObjectRef::new("a"));
        assert_eq!(woken.next().await.unwrap().name, "a");
    }
}
