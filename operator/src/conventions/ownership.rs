//! Whose an object is.

use kube::ResourceExt;

/// Whether an object is a resource's own, and not that of an earlier resource of the same name.
pub(crate) fn is_owned(resource: &impl ResourceExt, object: &impl ResourceExt) -> bool {
    let owner = object.owner_references().iter().find(|owner| owner.controller == Some(true));
    owner.is_some_and(|owner| Some(&owner.uid) == resource.meta().uid.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use kube::api::DynamicObject;
    use serde_json::{Value, json};

    fn owned_by(owners: Value) -> bool {
        let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "ownerReferences": owners}});
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        is_owned(&fixtures::resource(json!({})), &object)
    }

    #[test]
    fn an_object_is_ours_only_by_the_resources_own_identity() {
        let owner = |uid: &str, controller: bool| json!([{"apiVersion": "v1", "kind": "CodeCrucible", "name": "demo", "uid": uid, "controller": controller}]);
        assert!(owned_by(owner("1-2-3", true)));
        assert!(!owned_by(owner("1-2-3", false)));
        assert!(!owned_by(owner("0-0-0", true)), "of an earlier resource of the same name");
        assert!(!owned_by(json!([])));
    }
}
