//! What each service was seen to run of the access policies, as its last reconcile found it.
//!
//! Services are kept in memory by their metadata alone; to read all of a namespace for each of its policies would be a
//! read for each pair.

use crate::service::Known;
use codecrucible_contract::AccessDocument;
use codecrucible_crds::{AccessInForce, AccessPolicy};
use kube::runtime::reflector::{ObjectRef, Store};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most names of services that are listed.
const MAX_PENDING: usize = 10;

/// Has a policy looked at.
type Wake = Box<dyn Fn(ObjectRef<AccessPolicy>) + Send + Sync>;

/// What all services were seen to run.
pub(crate) struct Targets {
    seen: Mutex<HashMap<ObjectRef<Known>, Seen>>,
    wake: Wake,
}

/// What one service was seen to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Names of the policies that it selects.
    pub(crate) selected: BTreeSet<String>,
    /// Those that are a part of what was handed out.
    pub(crate) in_force: Vec<AccessInForce>,
    /// Whether every ready replica said that it runs that.
    pub(crate) is_applied: bool,
    /// Whether what is new is only compared with it.
    pub(crate) only_compares: bool,
}

/// How many services run a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Those that select it, and those that run it still.
    pub(crate) services: usize,
    /// Those of them that run it as they should.
    pub(crate) applied: usize,
    /// Some of the others, by name.
    pub(crate) pending: Vec<String>,
    /// The first of the others that only compares what is new.
    pub(crate) comparing: Option<String>,
    /// The first that was not looked at yet, so that what it selects is not known.
    pub(crate) unseen: Option<String>,
}

impl Targets {
    pub(crate) fn new(wake: impl Fn(ObjectRef<AccessPolicy>) + Send + Sync + 'static) -> Self {
        Self { seen: Mutex::default(), wake: Box::new(wake) }
    }

    /// Where nobody asks.
    pub(crate) fn nobodys() -> Self {
        Self::new(|_| {})
    }

    /// Notes what a service was seen to run, and has the policies looked at that this concerns.
    pub(crate) fn note(&self, service: ObjectRef<Known>, seen: Seen) {
        let namespace = service.namespace.clone().unwrap_or_default();
        let before = self.seen().insert(service, seen.clone());
        if before.as_ref() != Some(&seen) {
            self.wake_all(&namespace, before.into_iter().chain([seen]));
        }
    }

    /// Forgets a service that is gone.
    pub(crate) fn forget(&self, service: &ObjectRef<Known>) {
        let before = self.seen().remove(service);
        self.wake_all(service.namespace.as_deref().unwrap_or_default(), before);
    }

    fn wake_all(&self, namespace: &str, seen: impl IntoIterator<Item = Seen>) {
        let names: BTreeSet<_> = seen.into_iter().flat_map(|seen| seen.selected).collect();
        names.into_iter().for_each(|name| (self.wake)(ObjectRef::new(&name).within(namespace)));
    }

    /// Who runs a policy that came to `document`, or to nothing because it is wrong.
    pub(crate) fn tally(
        &self,
        namespace: &str,
        name: &str,
        document: Option<&AccessDocument>,
        services: &Store<Known>,
    ) -> Tally {
        let wanted = document.map(AccessDocument::hash);
        let seen = self.seen();
        let mut tally = Tally::default();
        let mut existing: Vec<_> = services.state();
        existing.retain(|service| service.metadata.namespace.as_deref() == Some(namespace));
        existing.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
        for service in existing {
            let Some(Seen { selected, in_force, is_applied, only_compares }) =
                seen.get(&ObjectRef::from_obj(&*service))
            else {
                tally.unseen = tally.unseen.or_else(|| service.metadata.name.clone());
                continue;
            };
            let (is_selected, runs) = (selected.contains(name), in_force.iter().find(|one| one.name == name));
            if !is_selected && runs.is_none() {
                continue;
            }
            tally.services += 1;
            let runs_it = runs.is_some_and(|one| Some(&one.hash) == wanted.as_ref());
            if *is_applied && is_selected && runs_it {
                tally.applied += 1;
                continue;
            }
            if *only_compares {
                tally.comparing = tally.comparing.or_else(|| service.metadata.name.clone());
            }
            if tally.pending.len() < MAX_PENDING {
                tally.pending.extend(service.metadata.name.clone());
            }
        }
        tally
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<ObjectRef<Known>, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecrucible_contract::Enforcement;
    use codecrucible_crds::AccessEnforcement;
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;
    use std::sync::Arc;

    fn services(names: &[&str]) -> Store<Known> {
        let (store, mut writer) = reflector::store();
        for name in names {
            let known = json!({"metadata": {"name": name, "namespace": "team"}});
            writer.apply_watcher_event(&Event::Apply(serde_json::from_value(known).unwrap()));
        }
        store
    }

    fn service(name: &str) -> ObjectRef<Known> {
        ObjectRef::new(name).within("team")
    }

    fn document() -> AccessDocument {
        AccessDocument { name: "p".into(), enforcement: Enforcement::Enforce, rules: Vec::new() }
    }

    fn seen(hash: &str, is_applied: bool) -> Seen {
        let in_force = vec![AccessInForce {
            name: "p".into(),
            enforcement: AccessEnforcement::Enforce,
            hash: hash.into(),
        }];
        Seen { selected: BTreeSet::from(["p".to_owned()]), in_force, is_applied, only_compares: false }
    }

    #[test]
    fn a_service_counts_once_all_its_replicas_run_just_this_document() {
        let (targets, services) = (Targets::nobodys(), services(&["a", "b", "c", "d"]));
        let tally = || targets.tally("team", "p", Some(&document()), &services);
        targets.note(service("a"), seen(&document().hash(), true));
        assert_eq!((tally().applied, tally().unseen), (1, Some("b".into())), "b was not looked at yet");
        targets.note(service("b"), seen(&document().hash(), false));
        targets.note(service("c"), seen("of before", true));
        targets.note(service("d"), Seen::default());
        let pending = vec!["b".to_owned(), "c".to_owned()];
        assert_eq!(tally(), Tally { services: 3, applied: 1, pending, ..Tally::default() });
        targets.note(service("c"), Seen { only_compares: true, ..seen("of before", true) });
        assert_eq!(tally().comparing.as_deref(), Some("c"));
        targets.note(service("d"), Seen { selected: BTreeSet::new(), ..seen(&document().hash(), true) });
        let pending = ["b", "c", "d"].map(str::to_owned).to_vec();
        assert_eq!(tally().pending, pending, "d does not select it any longer, and runs it still");
        assert_eq!(targets.tally("team", "p", None, &services).applied, 0, "a wrong one is run by nobody");
    }

    #[test]
    fn policies_are_looked_at_when_something_changes_for_them_and_only_then() {
        let woken = Arc::new(Mutex::new(Vec::new()));
        let targets = Targets::new({
            let woken = Arc::clone(&woken);
            move |policy: ObjectRef<AccessPolicy>| woken.lock().unwrap().push(policy.name)
        });
        let woken_by = |act: &dyn Fn()| {
            act();
            std::mem::take(&mut *woken.lock().unwrap())
        };
        assert_eq!(woken_by(&|| targets.note(service("a"), seen("h", false))), ["p"]);
        assert_eq!(woken_by(&|| targets.note(service("a"), seen("h", false))), [""; 0]);
        assert_eq!(woken_by(&|| targets.note(service("a"), seen("h", true))), ["p"]);
        assert_eq!(woken_by(&|| targets.forget(&service("a"))), ["p"]);
        assert_eq!(woken_by(&|| targets.forget(&service("a"))), [""; 0]);
    }
}
