//! Which policy is in force: the newest, the one at which a person holds the service, or the one that is, while the newest is
//! only compared with it.

use super::Invalid;
use crate::service::document::have_room;
use crate::service::history::Series;
use crate::service::observe::Observed;
use crate::service::rollout::{changed_backend, has_other_store, moved_model};
use codecrucible_contract::Bundle;
use codecrucible_crds::{CodeCrucible, PolicyMode, names};
use kube::ResourceExt as _;

/// Most of a wrong value that is shown, characters.
const MAX_SHOWN_CHARACTERS: usize = 80;

/// What replicas are given.
pub(super) struct InForce {
    pub(super) bundle: Bundle,
    /// What is only compared.
    pub(super) shadow: Option<Bundle>,
}

/// Chooses between the newest policy and an earlier one.
pub(super) fn choose(
    resource: &CodeCrucible,
    observed: &Observed,
    newest: Bundle,
) -> Result<InForce, Invalid> {
    if let Some(pinned) = pinned(resource, observed, &newest)? {
        return Ok(InForce { bundle: pinned, shadow: None });
    }
    let reported = resource.status.as_ref().and_then(|status| status.policy.as_ref());
    let Some(reported) = reported.filter(|_| resource.spec.policy.mode == PolicyMode::Shadow) else {
        return Ok(InForce { bundle: newest, shadow: None });
    };
    let path = "spec.policy.mode";
    let Some(current) = observed.in_force.clone() else {
        return Err(Invalid::value(format!(
            "{path}: in Shadow, the policy that is in force goes on, and {} is not kept any more; set Enforce",
            reported.revision
        )));
    };
    if current.hash() == newest.hash() {
        return Ok(InForce { bundle: current, shadow: None });
    }
    if let Some(lacking) = lacking(&current, &newest) {
        return Err(Invalid::value(format!(
            "{path}: in Shadow, the policy that is in force goes on, which needs {lacking}"
        )));
    }
    if !have_room(&current, &newest) {
        let problem = "the policy that is in force and the new one are too large to be handed out together";
        return Err(Invalid::value(format!("{path}: {problem}; set Enforce")));
    }
    Ok(InForce { bundle: current, shadow: Some(newest) })
}

/// What an earlier policy cannot go on without, in words.
fn lacking(earlier: &Bundle, newest: &Bundle) -> Option<String> {
    if has_other_store(earlier, newest) {
        return Some(
            "spec.redis or spec.cache.redis as it was then, whose password is another one now".into(),
        );
    }
    let name = changed_backend(earlier, newest).or_else(|| moved_model(earlier, newest))?;
    Some(format!(
        "the ModelBackend {name:?} as it was: named in spec.backends, with the URL, the credential or the file of then"
    ))
}

/// The kept policy at which a person holds the service, whatever the resource says.
fn pinned(resource: &CodeCrucible, observed: &Observed, newest: &Bundle) -> Result<Option<Bundle>, Invalid> {
    let Some(revision) = resource.annotations().get(names::ANNOTATION_ROLLBACK_POLICY) else {
        return Ok(None);
    };
    let path = format!("metadata.annotations[{}]", names::ANNOTATION_ROLLBACK_POLICY);
    if let Some(pinned) = &observed.pinned {
        return lacking(pinned, newest).map_or(Ok(Some(pinned.clone())), |lacking| {
            Err(Invalid::value(format!("{path}: the policy {revision} needs {lacking}")))
        });
    }
    let kept = observed.history.iter().filter(|kept| kept.series == Series::Policy);
    let kept: Vec<_> = kept.map(|kept| kept.key.as_str()).collect();
    let shown: String = revision.chars().take(MAX_SHOWN_CHARACTERS).collect();
    Err(Invalid::value(format!("{path}: no policy {shown:?} is kept; there are: {}", kept.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::child::Child;
    use crate::service::document::config_map;
    use crate::service::fixtures;
    use crate::service::validate::{Validated, validate};
    use codecrucible_crds::CodeCrucibleStatus;
    use serde_json::{Value, json};

    /// Puts policies where a service has them, and into its status.
    fn hand_out(
        resource: &mut CodeCrucible,
        observed: &mut Observed,
        bundle: &Bundle,
        shadow: Option<&Bundle>,
    ) {
        let mut object = config_map(bundle, shadow);
        object["metadata"] = json!({"name": "demo-policy"});
        observed.children.insert(Child::Policy, serde_json::from_value(object).unwrap());
        observed.in_force = Some(bundle.clone());
        resource.status = Some(reported(bundle, shadow));
    }

    fn reported(bundle: &Bundle, shadow: Option<&Bundle>) -> CodeCrucibleStatus {
        let named =
            |bundle: &Bundle| json!({"revision": bundle.revision().to_string(), "hash": bundle.hash()});
        let mut policy = named(bundle);
        policy["shadow"] = shadow.map_or(Value::Null, named);
        serde_json::from_value(json!({ "policy": policy })).unwrap()
    }

    fn in_mode(mode: &str, tokens: u32) -> CodeCrucible {
        let synthesis = json!({ "maxTokensPerVoice": tokens });
        fixtures::resource(json!({"policy": {"mode": mode}, "synthesis": synthesis}))
    }

    fn validated(resource: &CodeCrucible, observed: &Observed) -> Validated {
        match validate(resource, observed) {
            Ok(validated) => validated,
            Err(invalid) => panic!("{}", invalid.message),
        }
    }

    fn refusal(resource: &CodeCrucible, observed: &Observed) -> String {
        validate(resource, observed).err().expect("it is valid").message
    }

    /// The resource in another mode, with the status that it has.
    fn changed(resource: &CodeCrucible, mode: &str, tokens: u32) -> CodeCrucible {
        CodeCrucible { status: resource.status.clone(), ..in_mode(mode, tokens) }
    }

    #[test]
    fn a_new_policy_in_shadow_is_compared_and_then_put_in_force_under_the_same_revision() {
        let (mut resource, mut observed) = (in_mode("Shadow", 100), fixtures::observed());
        let first = validated(&resource, &observed);
        assert!(first.shadow.is_none(), "something has to be in force");
        hand_out(&mut resource, &mut observed, &first.bundle, None);
        assert!(validated(&resource, &observed).shadow.is_none(), "it is the same");

        let second = validated(&changed(&resource, "Shadow", 200), &observed);
        let shadow = second.shadow.unwrap();
        assert_eq!((&second.bundle, shadow.revision().counter), (&first.bundle, 2));
        hand_out(&mut resource, &mut observed, &first.bundle, Some(&shadow));
        let again = validated(&changed(&resource, "Shadow", 200), &observed);
        assert_eq!(again.shadow.as_ref(), Some(&shadow), "the same again is no new revision");
        let third = validated(&changed(&resource, "Shadow", 300), &observed);
        assert_eq!(third.shadow.unwrap().revision().counter, 3);
        let back = validated(&changed(&resource, "Shadow", 100), &observed);
        assert_eq!((&back.bundle, back.shadow), (&first.bundle, None));
        // Where it is to be put in force, what is need not be known.
        observed.in_force = None;
        let enforced = validated(&changed(&resource, "Enforce", 200), &observed);
        assert_eq!((&enforced.bundle, enforced.shadow), (&shadow, None));
        observed.children.clear();
        let after = validated(&changed(&resource, "Enforce", 300), &observed);
        assert_eq!(after.bundle.revision().counter, 3, "the status knows of the shadow");
    }

    #[test]
    fn a_policy_in_shadow_is_not_put_in_force_because_what_is_was_lost_or_edited() {
        let (mut resource, mut observed) = (in_mode("Enforce", 100), fixtures::observed());
        let first = validated(&resource, &observed).bundle;
        hand_out(&mut resource, &mut observed, &first, None);
        let edited = validated(&in_mode("Enforce", 999), &fixtures::observed()).bundle;
        let status = resource.status.clone();
        hand_out(&mut resource, &mut observed, &edited, None);
        (resource.status, observed.in_force) = (status, Some(first.clone()));
        let shadowed = validated(&changed(&resource, "Shadow", 200), &observed);
        assert_eq!(shadowed.bundle, first);
        observed.in_force = None;
        assert!(refusal(&changed(&resource, "Shadow", 200), &observed).contains("is not kept any more"));
    }

    #[test]
    fn what_is_in_force_cannot_go_on_without_its_backends() {
        let (mut resource, mut observed) = (in_mode("Enforce", 100), fixtures::observed());
        let first = validated(&resource, &observed).bundle;
        hand_out(&mut resource, &mut observed, &first, None);
        let elsewhere: Value = json!({"type": "OpenAI", "url": "http://other/v1", "models": [{"name": "m"}]});
        observed.backends.insert("remote".into(), fixtures::backend("remote", elsewhere));
        let shadowed = refusal(&changed(&resource, "Shadow", 200), &observed);
        assert!(shadowed.starts_with("spec.policy.mode: in Shadow"), "{shadowed}");
        assert!(validate(&changed(&resource, "Enforce", 200), &observed).is_ok());
    }

    #[test]
    fn a_policy_is_not_held_that_would_meet_another_places_credential() {
        let mut observed = fixtures::observed();
        let mut held = fixtures::resource(json!({}));
        let earlier = validated(&held, &observed);
        held.annotations_mut().insert(names::ANNOTATION_ROLLBACK_POLICY.into(), "1-x".into());
        assert!(refusal(&held, &observed).contains("no policy \"1-x\" is kept"));
        observed.pinned = Some(earlier.bundle);
        assert!(validate(&held, &observed).is_ok());
        let elsewhere = json!({"type": "OpenAI", "url": "http://other:8000/v1", "models": [{"name": "m"}]});
        observed.backends.insert("remote".into(), fixtures::backend("remote", elsewhere));
        assert!(refusal(&held, &observed).contains("needs the ModelBackend \"remote\" as it was"));
    }
}
