//! Keys that an object of ours has and should not: applying it without them does not take away what somebody else put there, or
//! what was created once. Pure.

use super::child::Child;
use codecrucible_contract::layout;
use serde_json::{Map, Value, json};

/// Where an object has keys.
const PARTS: [&str; 2] = ["data", "binaryData"];

/// A merge patch that takes away what should not be there; nothing if that is nothing.
pub(crate) fn surplus(child: Child, live: &Value, desired: &Value) -> Option<Value> {
    let mut patch = Map::new();
    for part in PARTS {
        let wanted = |key: &str| desired[part].get(key).is_some();
        let live = live[part].as_object().into_iter().flat_map(Map::keys);
        let gone: Map<_, _> = live
            .filter(|key| !wanted(key) && counts(child, key))
            .map(|key| (key.clone(), Value::Null))
            .collect();
        if !gone.is_empty() {
            patch.insert(part.to_owned(), Value::Object(gone));
        }
    }
    (!patch.is_empty()).then(|| json!(patch))
}

/// Whether a key means something to whoever reads the object. What else people keep there is theirs.
fn counts(child: Child, key: &str) -> bool {
    match child {
        // All of it is mounted, and a policy beside ours might be taken for it.
        Child::Policy => true,
        // An authority that no longer vouches for the service.
        Child::OwnClient => key == layout::AUTHORITY_FILE,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_beside_ours_goes_and_so_does_an_old_authority_and_nothing_else() {
        let ours = json!({"data": {"bundle.json": "{}"}});
        let live =
            json!({"data": {"bundle.json": "edited", "note": "x"}, "binaryData": {"bundle.json.gz": "eA=="}});
        let gone = json!({"data": {"note": null}, "binaryData": {"bundle.json.gz": null}});
        assert_eq!(surplus(Child::Policy, &live, &ours), Some(gone));
        assert_eq!(surplus(Child::Policy, &ours, &ours), None);
        let ours = json!({"data": {"client-id": "eA=="}});
        let live = json!({"data": {"client-id": "eA==", "ca.crt": "eA==", "of-a-person": "eA=="}});
        assert_eq!(surplus(Child::OwnClient, &live, &ours), Some(json!({"data": {"ca.crt": null}})));
        assert_eq!(surplus(Child::SigningKeys, &live, &ours), None);
    }
}
