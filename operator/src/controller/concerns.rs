//! Which resources an object concerns, from the object's metadata and what the operator keeps in memory.
//!
//! A Secret that changes must not wake every resource of its namespace: with hundreds of them, each with Secrets
//! of its own, that would be a reconcile for each pair.

use super::uses::Uses;
use crate::service::Known;
use codecrucible_crds::{ModelBackend, SynthesisClient, names};
use kube::ResourceExt as _;
use kube::api::ObjectMeta;
use kube::runtime::reflector::ObjectRef;
use std::sync::Arc;

/// A resource by its name.
pub(super) type Reference = ObjectRef<Known>;

/// The resource that an object of ours belongs to, by its owner and by its label: either may have been taken off
/// by hand, which is for the resource to notice. A pod has the label only; its owner is a ReplicaSet.
pub(super) fn of_child(child: &ObjectMeta) -> Vec<Reference> {
    let mut concerned: Vec<Reference> = owner(child).into_iter().collect();
    if let Some(labelled) = labelled(child).filter(|labelled| !concerned.contains(labelled)) {
        concerned.push(labelled);
    }
    concerned
}

fn labelled(child: &ObjectMeta) -> Option<Reference> {
    let labels = child.labels.as_ref()?;
    let is_ours = labels.get(names::LABEL_MANAGED_BY).is_some_and(|manager| manager == names::MANAGED_BY);
    let name = labels.get(names::LABEL_INSTANCE).filter(|_| is_ours)?;
    Some(ObjectRef::new(name).within(child.namespace.as_ref()?))
}

/// The resource that a Secret belongs to, those of whose backends one takes its credential from it, and those that name it
/// themselves.
pub(super) fn of_secret(secret: &ObjectMeta, backends: &[Arc<ModelBackend>], uses: &Uses) -> Vec<Reference> {
    let takes_from_it = |backend: &&Arc<ModelBackend>| {
        let reference = backend.spec.credentials_secret_ref.as_ref();
        backend.namespace() == secret.namespace
            && reference.is_some_and(|reference| Some(&reference.name) == secret.name.as_ref())
    };
    let takers = backends.iter().filter(takes_from_it).flat_map(|backend| uses.of(&backend.metadata));
    of_child(secret).into_iter().chain(takers).chain(uses.naming(secret)).collect()
}

/// The client that a Secret was made for.
pub(super) fn client_of(secret: &ObjectMeta) -> Option<ObjectRef<SynthesisClient>> {
    Some(ObjectRef::new(&owner_of_kind(secret, "SynthesisClient")?).within(secret.namespace.as_ref()?))
}

fn owner(object: &ObjectMeta) -> Option<Reference> {
    Some(ObjectRef::new(&owner_of_kind(object, "CodeCrucible")?).within(object.namespace.as_ref()?))
}

fn owner_of_kind(object: &ObjectMeta, kind: &str) -> Option<String> {
    let owners = object.owner_references.iter().flatten();
    let owner = owners.into_iter().find(|owner| {
        owner.controller == Some(true)
            && owner.kind == kind
            && owner.api_version.starts_with(&format!("{}/", names::GROUP))
    })?;
    Some(owner.name.clone())
}

#[cfg(test)]
mod tests {
    use super::super::uses::tests::existing;
    use super::*;
    use crate::service::fixtures::{backend, resource};
    use serde_json::{Value, json};

    fn keyed_backend() -> Vec<Arc<ModelBackend>> {
        let mut keyed = backend(
            "keyed",
            json!({"type": "OpenAI", "url": "http://x", "models": [{"name": "m"}],
                "credentialsSecretRef": {"name": "key", "key": "token"}}),
        );
        keyed.metadata.namespace = Some("team".into());
        vec![Arc::new(keyed)]
    }

    fn uses() -> Uses {
        let uses = Uses::default();
        for (name, backends) in [("without", json!(["remote"])), ("with", json!(["remote", "keyed"]))] {
            let mut resource = resource(json!({"backends": backends}));
            resource.metadata.name = Some(name.into());
            uses.note(&resource, &existing(&["without", "with"]));
        }
        uses
    }

    fn secret(name: &str, namespace: &str, owners: Value) -> ObjectMeta {
        serde_json::from_value(json!({"name": name, "namespace": namespace, "ownerReferences": owners}))
            .unwrap()
    }

    fn names_of(references: Vec<Reference>) -> Vec<String> {
        references.into_iter().map(|reference| reference.name).collect()
    }

    #[test]
    fn a_credential_concerns_only_the_resources_whose_backends_take_it() {
        let concerned = |name, namespace| {
            names_of(of_secret(&secret(name, namespace, json!([])), &keyed_backend(), &uses()))
        };
        assert_eq!(concerned("key", "team"), ["with"]);
        assert_eq!(concerned("other", "team"), [""; 0]);
        assert_eq!(concerned("key", "elsewhere"), [""; 0]);
    }

    #[test]
    fn a_certificate_or_a_password_concerns_the_resources_that_name_it() {
        let uses = Uses::default();
        let mut resource = resource(json!({
            "tls": {"mode": "Secret", "secretName": "mine"},
            "redis": {"url": "redis://redis:6379", "passwordSecretRef": {"name": "redis", "key": "password"}},
        }));
        resource.metadata.name = Some("with".into());
        uses.note(&resource, &existing(&["with"]));
        let concerned = |name, namespace| {
            names_of(of_secret(&secret(name, namespace, json!([])), &keyed_backend(), &uses))
        };
        assert_eq!(concerned("mine", "team"), ["with"]);
        assert_eq!(concerned("redis", "team"), ["with"]);
        assert_eq!(concerned("other", "team"), [""; 0]);
        assert_eq!(concerned("mine", "elsewhere"), [""; 0]);
    }

    #[test]
    fn a_child_concerns_its_owner_alone() {
        let owner = |api: &str| json!([{"apiVersion": api, "kind": "CodeCrucible", "name": "demo", "uid": "1", "controller": true}]);
        let concerned = |owners| names_of(of_secret(&secret("s", "team", owners), &keyed_backend(), &uses()));
        assert_eq!(concerned(owner("codecrucible.dev/v1alpha1")), ["demo"]);
        assert_eq!(concerned(owner("elsewhere.example/v1")), [""; 0]);
    }

    #[test]
    fn a_child_whose_owner_was_taken_off_still_concerns_its_resource() {
        let labels = json!({names::LABEL_MANAGED_BY: names::MANAGED_BY, names::LABEL_INSTANCE: "demo"});
        let metadata = |labels: &Value, owners: Value| -> ObjectMeta {
            let metadata =
                json!({"name": "s", "namespace": "team", "labels": labels, "ownerReferences": owners});
            serde_json::from_value(metadata).unwrap()
        };
        let owner = json!([{"apiVersion": "codecrucible.dev/v1alpha1", "kind": "CodeCrucible", "name": "demo", "uid": "1",
            "controller": true}]);
        assert_eq!(names_of(of_child(&metadata(&labels, json!([])))), ["demo"]);
        assert_eq!(names_of(of_child(&metadata(&labels, owner))), ["demo"], "once");
        let of_another_tool = json!({names::LABEL_MANAGED_BY: "Helm", names::LABEL_INSTANCE: "demo"});
        assert_eq!(names_of(of_child(&metadata(&of_another_tool, json!([])))), [""; 0]);
    }
}
