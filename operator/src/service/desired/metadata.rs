//! Labels and ownership, the same on every child.

use codecrucible_crds::{CodeCrucible, names};
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};

/// Metadata of a child.
pub(crate) fn metadata(resource: &CodeCrucible, name: &str) -> Value {
    json!({
        "name": name,
        "namespace": resource.namespace(),
        "labels": labels(resource),
        "ownerReferences": [resource.controller_owner_ref(&())],
    })
}

/// All labels.
pub(super) fn labels(resource: &CodeCrucible) -> Value {
    let mut labels = selector(resource);
    labels[names::LABEL_MANAGED_BY] = names::MANAGED_BY.into();
    labels
}

/// The labels that select a service's pods; they never change, as a Deployment's selector cannot.
pub(super) fn selector(resource: &CodeCrucible) -> Value {
    json!({names::LABEL_NAME: names::APPLICATION, names::LABEL_INSTANCE: resource.name_any()})
}

/// The same as text, as the API takes it.
pub(crate) fn selector_text(resource: &CodeCrucible) -> String {
    let (name, instance) = (names::LABEL_NAME, names::LABEL_INSTANCE);
    format!("{instance}={},{name}={}", resource.name_any(), names::APPLICATION)
}
