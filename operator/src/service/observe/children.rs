//! The objects of a service.

use super::{Look, ObserveError, failed, get};
use crate::service::Context;
use crate::service::child::Child;
use codecrucible_crds::{CodeCrucible, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::DynamicObject;
use kube::{Api, ResourceExt as _};

pub(super) async fn found(
    context: &Context,
    resource: &CodeCrucible,
    child: Child,
    look: Look,
) -> Result<Option<DynamicObject>, ObserveError> {
    let namespace = resource.namespace().unwrap_or_default();
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &namespace, &child.api_resource());
    get(&api, &child.name(resource), look.of_child(child, &context.newest)).await.map_err(failed("children"))
}

/// Whether the operator alone has set a deployment's replicas.
pub(super) fn are_replicas_ours_alone(managed: &[ManagedFieldsEntry]) -> bool {
    let sets_replicas = |entry: &&ManagedFieldsEntry| {
        entry.fields_v1.as_ref().is_some_and(|fields| !fields.0["f:spec"]["f:replicas"].is_null())
    };
    let mut who = managed.iter().filter(sets_replicas).map(|entry| entry.manager.as_deref()).peekable();
    who.peek().is_some() && who.all(|manager| manager == Some(names::FIELD_MANAGER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn replicas_are_ours_until_somebody_else_sets_them() {
        let entry = |manager: &str, fields: Value| json!({"manager": manager, "operation": "Apply", "fieldsV1": fields});
        let (with, without) = (json!({"f:spec": {"f:replicas": {}}}), json!({"f:spec": {"f:selector": {}}}));
        let alone = |entries: Value| {
            let entries: Vec<ManagedFieldsEntry> = serde_json::from_value(entries).unwrap();
            are_replicas_ours_alone(&entries)
        };
        let ours = entry(names::FIELD_MANAGER, with.clone());
        assert!(alone(json!([ours, entry("kube-controller-manager", without.clone())])));
        assert!(!alone(json!([ours, entry("kube-controller-manager", with)])));
        assert!(!alone(json!([entry(names::FIELD_MANAGER, without)])), "they are set by nobody");
    }
}
