//! Who may do what at a service: the access policies that it selects, compiled.

use super::Invalid;
use crate::access_policy::compile;
use crate::service::observe::Observed;
use codecrucible_contract::{Access, AccessDocument, Enforcement, MAX_ACCESS_BYTES, MAX_ACCESS_DOCUMENTS};
use codecrucible_crds::{AccessPolicy, CodeCrucible};
use kube::ResourceExt as _;
use kube::core::{Selector, SelectorExt as _};
use std::sync::Arc;

/// What the selected policies come to together, and what of them is not as it should be; nothing where none is asked for.
pub(super) fn access(
    resource: &CodeCrucible,
    observed: &Observed,
) -> Result<(Option<Access>, Vec<String>), Invalid> {
    if resource.spec.policy_selector.is_none() {
        return Ok((None, Vec::new()));
    }
    let selected = selected(resource, observed)?;
    let path = "spec.policySelector";
    if selected.is_empty() {
        return Err(Invalid::not_found(format!(
            "{path}: matches no AccessPolicy of this namespace, so nobody could do anything; label one, or remove the selector"
        )));
    }
    if selected.len() > MAX_ACCESS_DOCUMENTS {
        let count = selected.len();
        return Err(Invalid::value(format!(
            "{path}: matches {count} AccessPolicies, more than {MAX_ACCESS_DOCUMENTS}"
        )));
    }
    let before = observed.in_force.as_ref().and_then(|bundle| bundle.policy().access.as_ref());
    let (mut documents, mut notes, mut left_out, mut bytes) = (Vec::new(), Vec::new(), None, 0);
    for policy in selected {
        match compile(policy) {
            Ok(document) => {
                bytes += document.bytes();
                // Before more of them are held in memory.
                if bytes > MAX_ACCESS_BYTES {
                    return Err(Invalid::value(format!(
                        "{path}: what matches comes to more than {MAX_ACCESS_BYTES} bytes of rules"
                    )));
                }
                documents.push(document);
            }
            Err(wrong) => {
                let wrong = format!("{path}: AccessPolicy {:?} {wrong}", policy.name_any());
                // One author's mistake must not keep another one's change, or any other, from the service.
                // Before there is anything to go on with, it may be the one that forbids.
                let before = before.ok_or_else(|| Invalid::value(wrong.clone()))?;
                match before.documents.iter().find(|document| document.name == policy.name_any()) {
                    Some(document) => {
                        documents.push(document.clone());
                        notes.push(format!("{wrong}; it is in force as it was before"));
                    }
                    None => {
                        notes.push(format!("{wrong}; it is not in force, as before"));
                        left_out = left_out.or(Some(wrong));
                    }
                }
            }
        }
    }
    let denies_nothing = documents.iter().all(|document| document.enforcement == Enforcement::Shadow);
    let drops = || before.is_some_and(|before| drops_a_prohibition(before, &documents));
    // What was left out may be meant in place of what denied something.
    if let Some(wrong) = left_out.filter(|_| denies_nothing || drops()) {
        return Err(Invalid::value(wrong));
    }
    if denies_nothing {
        notes.push(format!("{path}: all that it matches is in Shadow, so every client may do everything"));
    }
    let namespace = resource.namespace().unwrap_or_default();
    Ok((Some(Access { namespace, documents }), notes))
}

/// Whether something that forbids is in force that is selected no longer: what was left out may be meant in its place.
fn drops_a_prohibition(before: &Access, documents: &[AccessDocument]) -> bool {
    let forbids = |document: &&AccessDocument| {
        document.enforcement == Enforcement::Enforce
            && document.rules.iter().any(|rule| rule.cedar.contains("forbid"))
    };
    let is_selected =
        |document: &AccessDocument| documents.iter().any(|selected| selected.name == document.name);
    before.documents.iter().filter(forbids).any(|document| !is_selected(document))
}

/// Whether a policy that a service selects does not compile, so that it stays as it was.
pub(crate) fn has_wrong_access(resource: &CodeCrucible, observed: &Observed) -> bool {
    let selected = selected(resource, observed).unwrap_or_default();
    selected.into_iter().take(MAX_ACCESS_DOCUMENTS).any(|policy| compile(policy).is_err())
}

/// The policies that a service selects, by name.
pub(crate) fn selected<'a>(
    resource: &CodeCrucible,
    observed: &'a Observed,
) -> Result<Vec<&'a AccessPolicy>, Invalid> {
    let Some(selector) = &resource.spec.policy_selector else { return Ok(Vec::new()) };
    let selector = Selector::try_from(selector.clone())
        .map_err(|wrong| Invalid::value(format!("spec.policySelector: {wrong}")))?;
    let is_selected = |policy: &&Arc<AccessPolicy>| {
        policy.metadata.deletion_timestamp.is_none() && selector.matches(policy.labels())
    };
    let mut selected: Vec<&AccessPolicy> =
        observed.access.iter().filter(is_selected).map(|policy| &**policy).collect();
    selected.sort_by_key(|policy| policy.name_any());
    Ok(selected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use serde_json::{Value, json};

    fn policy(name: &str, labels: Value, spec: Value) -> Arc<AccessPolicy> {
        let mut policy = AccessPolicy::new(name, serde_json::from_value(spec).unwrap());
        policy.metadata.namespace = Some("team".into());
        policy.metadata.labels = serde_json::from_value(labels).unwrap();
        Arc::new(policy)
    }

    fn observed() -> Observed {
        let access = vec![
            policy("b", json!({"for": "all"}), json!({})),
            policy("a", json!({"for": "all", "kind": "x"}), json!({})),
            policy("c", json!({}), json!({})),
        ];
        Observed { access, ..fixtures::observed() }
    }

    fn documents(selector: Value) -> Vec<String> {
        let resource = fixtures::resource(json!({ "policySelector": selector }));
        let access = access(&resource, &observed()).unwrap().0.unwrap();
        assert_eq!(access.namespace, "team");
        access.documents.into_iter().map(|document| document.name).collect()
    }

    #[test]
    fn policies_are_selected_by_their_labels_and_come_in_order() {
        assert_eq!(documents(json!({"matchLabels": {"for": "all"}})), ["a", "b"]);
        assert_eq!(documents(json!({})), ["a", "b", "c"]);
        let without = json!({"matchExpressions": [{"key": "kind", "operator": "DoesNotExist"}]});
        assert_eq!(documents(without), ["b", "c"]);
        assert_eq!(access(&fixtures::resource(json!({})), &observed()), Ok((None, Vec::new())));
    }

    #[test]
    fn a_selector_that_matches_nothing_or_makes_no_sense_is_refused_and_so_is_a_wrong_policy() {
        let refusal = |selector: Value, observed: &Observed| {
            let resource = fixtures::resource(json!({ "policySelector": selector }));
            access(&resource, observed).unwrap_err().message
        };
        let nobody = refusal(json!({"matchLabels": {"for": "none"}}), &observed());
        assert!(nobody.starts_with("spec.policySelector: matches no AccessPolicy"), "{nobody}");
        let expression = json!({"matchExpressions": [{"key": "kind", "operator": "Sometimes"}]});
        assert!(refusal(expression, &observed()).starts_with("spec.policySelector: "));
        // One that was never in force leaves nothing to go on with.
        let wrong = policy("d", json!({}), json!({"statements": ["permit"]}));
        let observed = Observed { access: vec![wrong], ..fixtures::observed() };
        let told = refusal(json!({}), &observed);
        assert!(told.starts_with("spec.policySelector: AccessPolicy \"d\" spec.statements[0]: "), "{told}");
    }

    #[test]
    fn a_new_policy_that_is_wrong_is_left_out_unless_nothing_else_would_deny_anything() {
        let resource = fixtures::resource(json!({"policySelector": {}}));
        let wrong = || policy("d", json!({}), json!({"statements": ["permit"]}));
        let mut observed = observed();
        let before = access(&resource, &observed).unwrap().0;
        observed.access.push(wrong());
        assert!(access(&resource, &observed).is_err(), "nothing was handed out yet");
        observed.hand_out(before.clone());
        let (after, notes) = access(&resource, &observed).unwrap();
        assert_eq!(after, before);
        assert!(notes[0].ends_with("it is not in force, as before"), "{notes:?}");
        let forbid = json!({"statements": ["forbid (principal, action, resource);"]});
        let renamed = Observed { access: vec![policy("a", json!({}), forbid)], ..fixtures::observed() };
        observed.hand_out(access(&resource, &renamed).unwrap().0);
        observed.access.retain(|policy| policy.name_any() != "a");
        assert!(access(&resource, &observed).is_err(), "what is wrong may be meant in place of what forbids");
        observed.access = vec![policy("s", json!({}), json!({"enforcement": "Shadow"})), wrong()];
        let refused = access(&resource, &observed).unwrap_err().message;
        assert!(refused.contains("AccessPolicy \"d\""), "{refused}");
        observed.access.pop();
        let (_, notes) = access(&resource, &observed).unwrap();
        assert!(notes[0].contains("every client may do everything"), "{notes:?}");
        observed.access = vec![wrong()];
        assert!(access(&resource, &observed).is_err());
    }

    #[test]
    fn a_policy_that_is_wrong_stays_in_force_as_it_was_and_holds_nothing_else_up() {
        let resource = fixtures::resource(json!({"policySelector": {}}));
        let mut observed = observed();
        let before = access(&resource, &observed).unwrap().0;
        observed.hand_out(before.clone());
        observed.access[0] = policy("b", json!({}), json!({"statements": ["permit"]}));
        let permit = "permit (principal, action, resource);";
        observed.access[1] = policy("a", json!({}), json!({"statements": [permit]}));
        let (after, notes) = access(&resource, &observed).unwrap();
        let (before, after) = (before.unwrap().documents, after.unwrap().documents);
        assert_eq!(after[0].rules[0].cedar, permit, "a changed");
        assert_eq!(after[1..], before[1..], "b and c are as they were");
        let [note] = &notes[..] else { panic!("{notes:?}") };
        assert!(note.contains("AccessPolicy \"b\" spec.statements[0]: "), "{note}");
    }
}
