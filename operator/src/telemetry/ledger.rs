//! What became of each resource when it was looked at last: the source of `/debug/resources`, and of how many are in
//! which state.

use codecrucible_crds::conditions as names;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How a resource is, as its conditions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Ready,
    Reconciling,
    Stalled,
}

/// All of them, for metrics that show a zero too.
const STATES: [State; 3] = [State::Ready, State::Reconciling, State::Stalled];

impl State {
    /// From a resource's conditions. One that has none yet is about to have some.
    pub(crate) fn of(conditions: &[Condition]) -> Self {
        let is_true = |type_: &str| {
            conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True")
        };
        if is_true(names::STALLED) {
            Self::Stalled
        } else if is_true(names::READY) && !is_true(names::RECONCILING) {
            Self::Ready
        } else {
            Self::Reconciling
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Reconciling => "reconciling",
            Self::Stalled => "stalled",
        }
    }
}

/// Kind, namespace and name.
type Key = (&'static str, String, String);

/// What is known of one resource.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    /// `success`, or the reason of the error.
    outcome: &'static str,
    at: Timestamp,
    milliseconds: u64,
}

/// All resources that exist.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<BTreeMap<Key, Entry>>);

/// One resource, as it is shown.
#[derive(Serialize)]
struct Shown<'a> {
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
    #[serde(flatten)]
    entry: &'a Entry,
}

impl Ledger {
    /// Notes how a reconcile ended. `state` is that of the resource as the reconcile found it; without one it is gone, or
    /// could not be read, and then what was known of it stays.
    pub(crate) fn note<K>(
        &self,
        kind: &'static str,
        resource: &K,
        state: Option<State>,
        outcome: &'static str,
        took: Duration,
    ) where
        K: Resource<DynamicType = ()>,
    {
        let key = (kind, resource.namespace().unwrap_or_default(), resource.name_any());
        let mut entries = self.entries();
        let state = state.or_else(|| entries.get(&key)?.state);
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        entries.insert(key, Entry { state, outcome, at: Timestamp::now(), milliseconds });
    }

    /// Forgets a resource that is gone.
    pub(crate) fn forget(&self, kind: &'static str, namespace: Option<&str>, name: &str) {
        self.entries().remove(&(kind, namespace.unwrap_or_default().to_owned(), name.to_owned()));
    }

    /// How many resources of each kind there are in each state.
    pub(crate) fn counts(&self) -> BTreeMap<(&'static str, State), i64> {
        let entries = self.entries();
        let mut counts = BTreeMap::new();
        for ((kind, ..), entry) in entries.iter() {
            for state in STATES {
                let is_it = entry.state == Some(state);
                *counts.entry((*kind, state)).or_default() += i64::from(is_it);
            }
        }
        counts
    }

    /// All of them as a JSON document.
    pub(crate) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let entries = self.entries();
        let shown =
            entries.iter().map(|((kind, namespace, name), entry)| Shown { kind, namespace, name, entry });
        let shown: Vec<_> = shown.collect();
        serde_json::to_vec(&shown)
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Key, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures::resource;
    use serde_json::{Value, json};

    fn conditions(is_true: &[&str]) -> Vec<Condition> {
        let condition = |type_: &&str| json!({"type": type_, "status": "True", "reason": "r", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        serde_json::from_value(is_true.iter().map(condition).collect()).unwrap()
    }

    #[test]
    fn a_resource_is_ready_only_when_nothing_is_left_to_do() {
        assert_eq!(State::of(&conditions(&["Ready"])), State::Ready);
        assert_eq!(State::of(&conditions(&["Ready", "Reconciling"])), State::Reconciling);
        assert_eq!(State::of(&conditions(&["Ready", "Stalled"])), State::Stalled);
        assert_eq!(State::of(&[]), State::Reconciling);
    }

    #[test]
    fn what_is_known_of_a_resource_stays_while_it_cannot_be_read_and_goes_with_it() {
        let (ledger, demo) = (Ledger::default(), resource(json!({})));
        let took = Duration::from_millis(7);
        ledger.note("CodeCrucible", &demo, Some(State::Ready), "success", took);
        ledger.note("CodeCrucible", &demo, None, "ObserveFailed", took);
        let shown: Value = serde_json::from_slice(&ledger.to_json().unwrap()).unwrap();
        assert_eq!(shown[0]["namespace"], "team");
        assert_eq!((&shown[0]["state"], &shown[0]["outcome"]), (&json!("ready"), &json!("ObserveFailed")));
        assert_eq!(ledger.counts()[&("CodeCrucible", State::Ready)], 1);
        assert_eq!(ledger.counts()[&("CodeCrucible", State::Stalled)], 0);
        ledger.forget("CodeCrucible", Some("team"), "demo");
        assert!(ledger.counts().is_empty());
    }
}
