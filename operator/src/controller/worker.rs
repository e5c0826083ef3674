//! What surrounds a reconcile of whatever kind: who waits for one, how long it takes and how it ends, and when it is tried again.

use super::failures::Failures;
use super::queue::Queue;
use crate::telemetry::{Metrics, State};
use aws_lc_rs::rand;
use kube::Resource;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument as _;

/// Why a reconcile failed.
pub(super) trait Failure: Error {
    /// The label in metrics.
    fn reason(&self) -> &'static str;
}

/// What reconciles of one kind share.
pub(super) struct Worker<K: Resource<DynamicType = ()> + 'static, C> {
    pub(super) context: C,
    pub(super) store: Store<K>,
    pub(super) queue: Arc<Queue>,
    kind: &'static str,
    metrics: Arc<Metrics>,
    failures: Failures<K>,
}

impl<K, C> Worker<K, C>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    pub(super) fn new(kind: &'static str, context: C, metrics: &Arc<Metrics>, store: Store<K>) -> Arc<Self> {
        let queue = Arc::new(Queue::new(metrics.queued.with_label_values(&[kind])));
        let metrics = Arc::clone(metrics);
        Arc::new(Self { context, store, queue, kind, metrics, failures: Failures::new() })
    }

    /// Runs a reconcile, which says how it found the resource, and gives the time after which to look again, or nothing if the resource
    /// is gone. What is logged within it carries one identifier.
    pub(super) async fn run<E: Failure>(
        &self,
        resource: &K,
        reconcile: impl AsyncFnOnce(&mut Option<State>) -> Result<Option<Duration>, E>,
    ) -> Result<Action, E> {
        self.queue.leave(&ObjectRef::from_obj(resource));
        let (begin, mut state) = (Instant::now(), None);
        let span = tracing::info_span!("reconcile", resource = self.kind, id = %identifier());
        let outcome = reconcile(&mut state).instrument(span).await;
        let label = outcome.as_ref().err().map_or("success", Failure::reason);
        let is_gone = matches!(outcome, Ok(None));
        self.metrics.note_reconcile(self.kind, resource, state, label, is_gone, begin.elapsed());
        let look_again = outcome?;
        self.failures.forget(resource);
        Ok(look_again.map_or_else(Action::await_change, Action::requeue))
    }

    pub(super) fn retry_later<E: Failure + 'static>(&self, resource: &K, error: &E) -> Action {
        self.failures.note(resource, error, &self.store)
    }

    /// Failed reconciles are told where they are counted; a resource that is not found is gone, and is given; what else goes wrong is a
    /// watch that does not work.
    pub(super) fn note_end<E: Error + 'static>(
        &self,
        error: &controller::Error<E, watcher::Error>,
    ) -> Option<ObjectRef<K>> {
        match error {
            controller::Error::ReconcilerFailed(..) => None,
            controller::Error::ObjectNotFound(gone) => {
                let gone = ObjectRef::<K>::clone(&gone.clone().into_kind_unchecked(()));
                self.queue.leave(&gone);
                self.metrics.ledger.forget(self.kind, gone.namespace.as_deref(), &gone.name);
                Some(gone)
            }
            other => {
                tracing::warn!(error = %other, "a watch does not work");
                None
            }
        }
    }
}

/// Random, so that it is the only one of all processes.
fn identifier() -> String {
    let mut random = [0_u8; 8];
    // Without randomness it only finds less.
    let _ = rand::fill(&mut random);
    format!("{:016x}", u64::from_be_bytes(random))
}
