//! Which policy pods can load that are back: the newest, unless it needs a model that they do not mount.

use super::Chosen;
use crate::service::history::Template;
use crate::service::pod::MODELS_FOLDER;
use codecrucible_contract::{Backend, BackendKind, Bundle, Revision, Store};

/// What is to be handed out to pods that are made from this: the newest policy, unless they are back and cannot load it. Who
/// may do what stays as it is now: nobody gets back what was taken away since. `published` is what was handed out last.
pub(crate) fn choose_policy(
    chosen: &Chosen,
    newest: Bundle,
    published: Option<&Revision>,
    last_good: Option<&Bundle>,
) -> Bundle {
    if chosen.rolled_back.is_none() {
        return newest;
    }
    let loadable = loadable(&chosen.template, &newest, last_good);
    loadable.with_access(newest.policy().access.as_ref(), published).unwrap_or(newest)
}

/// The newest policy, or the one that ran with the template before, if only that can be loaded.
fn loadable<'a>(template: &Template, newest: &'a Bundle, last_good: Option<&'a Bundle>) -> &'a Bundle {
    if carries(template, newest) {
        return newest;
    }
    let can_serve = |bundle: &&Bundle| {
        carries(template, bundle)
            && changed_backend(bundle, newest).is_none()
            && !has_other_store(bundle, newest)
    };
    last_good.filter(can_serve).unwrap_or(newest)
}

/// The first remote backend of a kept policy that is not what it was: its credential, if it has one, is by now that of
/// another place, or none.
pub(crate) fn changed_backend<'a>(kept: &'a Bundle, newest: &Bundle) -> Option<&'a str> {
    let is_kept = |backend: &&Backend| {
        let now = newest.policy().backends.iter().find(|now| now.name == backend.name);
        matches!(backend.kind, BackendKind::Embedded(_)) || now.is_some_and(|now| now.kind == backend.kind)
    };
    kept.policy().backends.iter().find(|backend| !is_kept(backend)).map(|backend| &*backend.name)
}

/// Whether a kept policy would have a store's password of now sent to another place, or needs one of then.
pub(crate) fn has_other_store(kept: &Bundle, newest: &Bundle) -> bool {
    let is_still_one = |then: &Store| newest.policy().stores().any(|now| now == then);
    kept.policy().stores().any(|then| then.has_credential && !is_still_one(then))
}

/// The first embedded backend of a kept policy whose model is not where it was.
pub(crate) fn moved_model<'a>(kept: &'a Bundle, newest: &Bundle) -> Option<&'a str> {
    let path = |backend: &Backend| match &backend.kind {
        BackendKind::Embedded(embedded) => Some(embedded.path.clone()),
        BackendKind::Remote(_) => None,
    };
    let is_there = |backend: &&Backend| {
        let now = newest.policy().backends.iter().find(|now| now.name == backend.name);
        path(backend).is_none() || now.and_then(path) == path(backend)
    };
    kept.policy().backends.iter().find(|backend| !is_there(backend)).map(|backend| &*backend.name)
}

/// Whether a template mounts all models of a policy.
fn carries(template: &Template, bundle: &Bundle) -> bool {
    let mounts = template.content["spec"]["containers"][0]["volumeMounts"].as_array();
    let is_mounted = |backend: &Backend| {
        let folder = format!("{MODELS_FOLDER}/{}", backend.name);
        mounts.is_some_and(|mounts| mounts.iter().any(|mount| mount["mountPath"] == folder.as_str()))
    };
    let mut embedded =
        bundle.policy().backends.iter().filter(|backend| matches!(backend.kind, BackendKind::Embedded(_)));
    embedded.all(is_mounted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use crate::service::rollout::RolledBack;
    use crate::service::validate::validate;
    use codecrucible_contract::{Access, Policy, Store};
    use serde_json::{Value, json};

    fn bundle(backend: Value) -> Bundle {
        let mut observed = fixtures::observed();
        observed.backends.insert("local".into(), fixtures::backend("local", backend));
        let Ok(validated) = validate(&fixtures::resource(json!({"backends": ["local"]})), &observed) else {
            panic!("it is not valid")
        };
        validated.bundle
    }

    fn remote(url: &str) -> Bundle {
        bundle(json!({"type": "OpenAI", "url": url, "models": [{"name": "m"}]}))
    }

    fn embedded(path: &str) -> Bundle {
        let embedded = json!({"persistentVolumeClaim": "models", "path": path, "sha256": "0".repeat(64)});
        bundle(json!({"type": "Embedded", "embedded": embedded, "models": [{"name": "m"}]}))
    }

    fn template(mounts: &[&str]) -> Template {
        let mounts: Vec<_> = mounts.iter().map(|mount| json!({"mountPath": mount})).collect();
        Template::new(json!({"spec": {"containers": [{"volumeMounts": mounts}]}}))
    }

    #[test]
    fn pods_that_are_back_get_the_newest_policy_that_they_can_load() {
        let (old, new) = (remote("http://a/v1"), embedded("m.gguf"));
        let (with, without) = (template(&["/models/local"]), template(&[]));
        assert_eq!(loadable(&with, &new, Some(&old)), &new);
        assert_eq!(loadable(&without, &embedded("n.gguf"), None), &embedded("n.gguf"), "there is no other");
        let changed = remote("http://b/v1");
        assert_eq!(loadable(&without, &changed, Some(&old)), &changed, "it needs no model");
    }

    #[test]
    fn a_kept_policy_never_sends_the_stores_password_elsewhere() {
        let with_store = |url: &str, has_credential| {
            let store = Store { url: url.into(), username: None, has_credential, is_cluster: false };
            Bundle::compile(Policy { store: Some(store), ..remote("http://a/v1").policy().clone() }, None)
                .unwrap()
        };
        let (here, there) = (with_store("redis://here:6379", true), with_store("redis://there:6379", true));
        assert!(has_other_store(&here, &there) && has_other_store(&here, &remote("http://a/v1")));
        assert!(!has_other_store(&here, &here) && !has_other_store(&remote("http://a/v1"), &here));
        assert!(!has_other_store(&with_store("redis://here:6379", false), &there), "it needs none");
    }

    #[test]
    fn pods_that_are_back_never_bring_back_access_that_was_taken_away() {
        let old = remote("http://a/v1");
        let mut policy = old.policy().clone();
        let mut added = embedded("m.gguf").policy().backends[0].clone();
        added.models[0].alias = Some("added".into());
        policy.backends.push(Backend { name: "added".into(), ..added });
        policy.access = Some(Access { namespace: "now".into(), documents: Vec::new() });
        let published = "7-0123456789ab".parse().unwrap();
        let newest = Bundle::compile(policy, Some(&published)).unwrap();
        let rolled_back = Some(RolledBack { from: "t".into(), because: "no".into() });
        let back = Chosen { template: template(&[]), rolled_back, since: None, canary: None };
        let handed_out = choose_policy(&back, newest.clone(), Some(&published), Some(&old));
        assert_eq!(handed_out.policy().backends, old.policy().backends, "the added one cannot be loaded");
        assert_eq!(handed_out.policy().access, newest.policy().access);
        assert_eq!(handed_out.revision().counter, 8);
        let again = choose_policy(&back, newest.clone(), Some(handed_out.revision()), Some(&old));
        assert_eq!(again, handed_out, "the same again is no new revision");
        let wanted = Chosen { rolled_back: None, ..back };
        assert_eq!(choose_policy(&wanted, newest.clone(), Some(&published), Some(&old)), newest);
    }

    #[test]
    fn an_old_policy_never_meets_the_credential_of_another_place() {
        let (a, b) = (remote("http://a/v1"), remote("http://b/v1"));
        assert_eq!(changed_backend(&a, &b), Some("local"));
        assert_eq!(changed_backend(&a, &a), None);
        assert_eq!(loadable(&template(&[]), &embedded("m.gguf"), Some(&a)), &embedded("m.gguf"));
    }

    #[test]
    fn a_model_that_lies_elsewhere_is_not_where_the_old_policy_looks() {
        assert_eq!(moved_model(&embedded("a.gguf"), &embedded("b.gguf")), Some("local"));
        assert_eq!(moved_model(&embedded("a.gguf"), &embedded("a.gguf")), None);
        assert_eq!(moved_model(&embedded("a.gguf"), &remote("http://a/v1")), Some("local"));
    }
}
