//! The controller of `AccessPolicy`s: looked at when they change, and when a service that selects them was seen to run
//! something else.

use super::Shown;
use super::uses::Uses;
use super::wakes::Wakes;
use super::worker::{Failure, Worker};
use crate::access_policy::{AccessPolicyError, Context, reconcile};
use crate::service::Known;
use crate::telemetry::{Metrics, State};
use codecrucible_crds::AccessPolicy;
use futures::{Stream, StreamExt as _, future};
use kube::ResourceExt as _;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Policies that are looked at at once: each is little work.
const CONCURRENCY: u16 = 2;

type PolicyWorker = Worker<AccessPolicy, Context>;

/// Runs for as long as the watch lives.
pub(super) async fn run(
    context: Context,
    metrics: Arc<Metrics>,
    shown: impl Stream<Item = Shown<AccessPolicy>> + Send + 'static,
    policies: Store<AccessPolicy>,
    wakes: Arc<Wakes<AccessPolicy>>,
) -> anyhow::Result<()> {
    let worker = Worker::new("AccessPolicy", context, &metrics, policies.clone());
    let queue = Arc::clone(&worker.queue);
    Controller::for_stream(queue.of_shown(shown), policies)
        .with_config(Config::default().concurrency(CONCURRENCY))
        .reconcile_on(queue.of_woken(wakes.woken()))
        .run(reconcile_one, |policy, error, worker| worker.retry_later(&*policy, error), Arc::clone(&worker))
        .for_each(move |ended| {
            ended.err().and_then(|error| worker.note_end(&error));
            future::ready(())
        })
        .await;
    anyhow::bail!("the watch of AccessPolicies ended")
}

/// Has the services looked at that may select a policy, when that is shown and says something else.
pub(super) fn waking_services(
    policies: Store<AccessPolicy>,
    uses: Arc<Uses>,
    wakes: Arc<Wakes<Known>>,
) -> impl FnMut(&AccessPolicy) {
    let said = Said::new(policies);
    move |policy| {
        if said.differs(policy) {
            let selecting = uses.selecting_in(policy.metadata.namespace.as_deref());
            selecting.into_iter().for_each(|service| wakes.wake(service));
        }
    }
}

/// What policies said when they were shown last. A service cares for that; what the operator itself writes into their status
/// must not keep it busy.
struct Said {
    existing: Store<AccessPolicy>,
    said: Mutex<HashMap<ObjectRef<AccessPolicy>, Content>>,
}

/// Generation and labels.
type Content = (Option<i64>, BTreeMap<String, String>);

impl Said {
    fn new(existing: Store<AccessPolicy>) -> Self {
        Self { existing, said: Mutex::default() }
    }

    /// Whether a policy that is shown is new, gone, or says something else.
    fn differs(&self, policy: &AccessPolicy) -> bool {
        let reference = ObjectRef::from_obj(policy);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if policy.metadata.deletion_timestamp.is_some() || self.existing.get(&reference).is_none() {
            said.remove(&reference);
            return true;
        }
        let content = (policy.metadata.generation, policy.labels().clone());
        let differs = said.insert(reference, content.clone()) != Some(content);
        if said.len() > self.existing.len() {
            said.retain(|policy, _| self.existing.get(policy).is_some());
        }
        differs
    }
}

impl Failure for AccessPolicyError {
    fn reason(&self) -> &'static str {
        self.reason()
    }
}

async fn reconcile_one(
    policy: Arc<AccessPolicy>,
    worker: Arc<PolicyWorker>,
) -> Result<Action, AccessPolicyError> {
    let look = async |state: &mut Option<State>| {
        *state = Some(State::of(policy.status.as_ref().map_or(&[], |status| &status.conditions)));
        reconcile(&worker.context, &policy).await
    };
    worker.run(&*policy, look).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;

    #[test]
    fn a_policy_concerns_services_when_it_says_something_else_or_goes() {
        let (store, mut writer) = reflector::store();
        let said = Said::new(store);
        let mut policy = AccessPolicy::new("p", serde_json::from_value(json!({})).unwrap());
        policy.metadata.generation = Some(1);
        writer.apply_watcher_event(&Event::Apply(policy.clone()));
        assert!(said.differs(&policy));
        policy.status = Some(serde_json::from_value(json!({"services": 1})).unwrap());
        assert!(!said.differs(&policy), "only its status is new");
        policy.labels_mut().insert("for".into(), "demo".into());
        assert!(said.differs(&policy));
        policy.metadata.generation = Some(2);
        assert!(said.differs(&policy) && !said.differs(&policy));
        writer.apply_watcher_event(&Event::Delete(policy.clone()));
        assert!(said.differs(&policy));
    }
}
