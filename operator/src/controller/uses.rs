//! Which resources name a backend, or select access policies, as each of them was when a reconcile last read it. One that names another since
//! then has its reconcile still to come, which reads that backend after it is noted here: no change is missed.

use super::concerns::Reference;
use crate::service::Known;
use codecrucible_crds::CodeCrucible;
use kube::ResourceExt as _;
use kube::api::ObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What each resource names.
#[derive(Default)]
pub(super) struct Uses(Mutex<HashMap<Reference, Named>>);

struct Named {
    backends: Box<[String]>,
    selects_policies: bool,
    /// Secrets that it names itself: of the certificate that clients are shown, if it is not the operator's, and of the stores'
    /// passwords.
    secrets: Box<[String]>,
}

fn secrets(resource: &CodeCrucible) -> impl Iterator<Item = String> {
    let passwords = resource.spec.store_passwords().map(|(_, reference)| reference.name.clone());
    resource.spec.tls.given_secret(&resource.name_any()).into_iter().chain(passwords)
}

impl Uses {
    /// Notes a resource as it was read, and forgets those that exist no longer.
    pub(super) fn note(&self, resource: &CodeCrucible, existing: &Store<Known>) {
        let reference = ObjectRef::from_obj(resource).into_kind_unchecked(());
        let mut noted = self.noted();
        let named = Named {
            backends: resource.spec.backends.clone().into(),
            selects_policies: resource.spec.policy_selector.is_some(),
            secrets: secrets(resource).collect(),
        };
        noted.insert(reference, named);
        if noted.len() > existing.len() {
            noted.retain(|used, _| existing.get(used).is_some());
        }
    }

    /// The resources that name a backend.
    pub(super) fn of(&self, backend: &ObjectMeta) -> Vec<Reference> {
        let Some(name) = &backend.name else { return Vec::new() };
        let noted = self.noted();
        let users = noted.iter().filter(|(resource, named)| {
            resource.namespace == backend.namespace && named.backends.contains(name)
        });
        users.map(|(resource, _)| resource.clone()).collect()
    }

    /// The resources of a namespace that select access policies. Which ones is not asked: by which labels one was selected
    /// that has others now, nobody knows any more.
    pub(super) fn selecting_in(&self, namespace: Option<&str>) -> Vec<Reference> {
        let noted = self.noted();
        let selecting = noted
            .iter()
            .filter(|(resource, named)| resource.namespace.as_deref() == namespace && named.selects_policies);
        selecting.map(|(resource, _)| resource.clone()).collect()
    }

    /// The resources that name a Secret themselves.
    pub(super) fn naming(&self, secret: &ObjectMeta) -> Vec<Reference> {
        let Some(name) = &secret.name else { return Vec::new() };
        let noted = self.noted();
        let naming = noted.iter().filter(|(resource, named)| {
            resource.namespace == secret.namespace && named.secrets.contains(name)
        });
        naming.map(|(resource, _)| resource.clone()).collect()
    }

    fn noted(&self) -> MutexGuard<'_, HashMap<Reference, Named>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::service::fixtures::resource;
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;

    fn noted(uses: &Uses, name: &str, backends: &[&str]) {
        let mut resource = resource(json!({"backends": backends}));
        resource.metadata.name = Some(name.into());
        uses.note(&resource, &existing(&["one", "two"]));
    }

    /// Resources of these names.
    pub(in super::super) fn existing(names: &[&str]) -> Store<Known> {
        let (store, mut writer) = reflector::store();
        for name in names {
            let known = json!({"metadata": {"name": name, "namespace": "team"}});
            writer.apply_watcher_event(&Event::Apply(serde_json::from_value(known).unwrap()));
        }
        store
    }

    fn of(uses: &Uses, backend: &str, namespace: &str) -> Vec<String> {
        let backend = ObjectMeta {
            name: Some(backend.into()),
            namespace: Some(namespace.into()),
            ..ObjectMeta::default()
        };
        let mut names: Vec<_> = uses.of(&backend).into_iter().map(|user| user.name).collect();
        names.sort();
        names
    }

    #[test]
    fn a_backend_concerns_the_resources_of_its_namespace_that_name_it() {
        let uses = Uses::default();
        noted(&uses, "one", &["remote"]);
        noted(&uses, "two", &["remote", "local"]);
        assert_eq!(of(&uses, "remote", "team"), ["one", "two"]);
        assert_eq!(of(&uses, "local", "team"), ["two"]);
        assert_eq!(of(&uses, "remote", "elsewhere"), [""; 0]);
    }

    #[test]
    fn an_access_policy_concerns_the_resources_of_its_namespace_that_select_any() {
        let uses = Uses::default();
        noted(&uses, "one", &["remote"]);
        let mut selecting = resource(json!({"policySelector": {}}));
        selecting.metadata.name = Some("two".into());
        uses.note(&selecting, &existing(&["one", "two"]));
        let names =
            |namespace| uses.selecting_in(namespace).into_iter().map(|user| user.name).collect::<Vec<_>>();
        assert_eq!(names(Some("team")), ["two"]);
        assert_eq!(names(Some("elsewhere")), [""; 0]);
    }

    #[test]
    fn what_a_resource_names_no_longer_does_not_concern_it() {
        let uses = Uses::default();
        noted(&uses, "one", &["remote"]);
        noted(&uses, "one", &["local"]);
        assert_eq!(of(&uses, "remote", "team"), [""; 0]);
        assert_eq!(of(&uses, "local", "team"), ["one"]);
    }

    #[test]
    fn a_deleted_resource_is_forgotten() {
        let uses = Uses::default();
        for name in ["deleted", "one", "two"] {
            noted(&uses, name, &["remote"]);
        }
        assert_eq!(of(&uses, "remote", "team"), ["one", "two"]);
    }
}
