//! The custom resource definitions as files.

use crate::explained::explained;
use crate::{AccessPolicy, CodeCrucible, ModelBackend, SynthesisClient, conditions};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON};
use kube::CustomResourceExt as _;
use serde_json::json;
use serde_yaml::Value;

/// Name and content of each file in `manifests/crds` and in the chart.
pub fn definition_files() -> Result<Vec<(String, String)>, serde_yaml::Error> {
    let definitions = [AccessPolicy::crd(), CodeCrucible::crd(), ModelBackend::crd(), SynthesisClient::crd()]
        .map(not_current_yet)
        .map(explained);
    let file = |definition: &CustomResourceDefinition| {
        let name = definition.metadata.name.clone().unwrap_or_default();
        let yaml = serde_yaml::to_string(&sorted(serde_yaml::to_value(definition)?))?;
        Ok((
            format!("{name}.yaml"),
            format!("# Generated from the crate codecrucible-crds by `make generate`.\n{yaml}"),
        ))
    };
    definitions.iter().map(file).collect()
}

/// The same, whatever order maps have in this build.
fn sorted(value: Value) -> Value {
    match value {
        Value::Mapping(map) => {
            let mut entries: Vec<_> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|(one, _), (other, _)| one.as_str().cmp(&other.as_str()));
            Value::Mapping(entries.into_iter().collect())
        }
        Value::Sequence(items) => Value::Sequence(items.into_iter().map(sorted).collect()),
        scalar => scalar,
    }
}

/// What no operator has seen yet says so, and has seen no generation: pipelines take a resource without a status for one that
/// is well, and people would see nothing in the column where they look.
fn not_current_yet(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let properties = schema.and_then(|schema| schema.properties.as_mut());
        if let Some(status) = properties.and_then(|properties| properties.get_mut("status")) {
            let condition = |type_: &str, status: &str| {
                json!({
                    "type": type_, "status": status, "reason": conditions::REASON_PENDING,
                    "message": "no operator has looked at it yet", "lastTransitionTime": "1970-01-01T00:00:00Z",
                })
            };
            let conditions =
                [condition(conditions::READY, "Unknown"), condition(conditions::RECONCILING, "True")];
            status.default = Some(JSON(json!({"observedGeneration": -1, "conditions": conditions})));
        }
    }
    definition
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifests_are_fresh() {
        let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for folder in ["manifests/crds", "charts/codecrucible-operator/crds"] {
            for (name, yaml) in definition_files().unwrap() {
                let written = std::fs::read_to_string(repository.join(folder).join(&name)).unwrap();
                assert!(written == yaml, "{folder}/{name} is stale: run `make generate`");
            }
        }
    }
}
