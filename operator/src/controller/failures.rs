//! How often each resource failed in a row, and how long it waits before the next try.

use super::backoff::wait_after;
use crate::conventions::shortened;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt as _};
use std::collections::HashMap;
use std::error::Error;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Failures in a row of the resources that have some.
pub(super) struct Failures<K: Resource>(Mutex<HashMap<ObjectRef<K>, u32>>)
where
    K::DynamicType: Eq + Hash;

impl<K> Failures<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Notes that a resource is well.
    pub(super) fn forget(&self, resource: &K) {
        self.noted().remove(&ObjectRef::from_obj(resource));
    }

    /// Notes a failure; of what was deleted while it failed, nobody tells any more.
    pub(super) fn note(&self, resource: &K, error: &dyn Error, existing: &Store<K>) -> Action {
        let mut noted = self.noted();
        noted.retain(|failed, _| existing.get(failed).is_some());
        let count = noted.entry(ObjectRef::from_obj(resource)).or_default();
        *count = count.saturating_add(1);
        let mut jitter = [0_u8];
        // Without randomness the wait is merely the same for all.
        let _ = aws_lc_rs::rand::fill(&mut jitter);
        let wait = wait_after(*count, jitter[0]);
        let (kind, name, namespace) =
            (K::kind(&()), resource.name_any(), resource.namespace().unwrap_or_default());
        // An API server repeats what it does not take, however long that is.
        let error = shortened(&error.to_string());
        tracing::warn!(%kind, name, namespace, error, failures = *count, wait_ms = wait.as_millis(), "reconcile failed");
        Action::requeue(wait)
    }

    fn noted(&self) -> MutexGuard<'_, HashMap<ObjectRef<K>, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
