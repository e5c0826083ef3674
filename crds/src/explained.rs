//! What `kubectl explain` does not show of a schema, in the words that it does show: defaults and ranges.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use serde_json::Value;

/// The same, where each field of the `spec` that has a default or a range says so.
pub fn explained(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let properties = schema.and_then(|schema| schema.properties.as_mut());
        properties.and_then(|properties| properties.get_mut("spec")).into_iter().for_each(explain);
    }
    definition
}

fn explain(schema: &mut JSONSchemaProps) {
    for field in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        let more: Vec<_> = [default(field), range(field)].into_iter().flatten().collect();
        if let Some(description) = field.description.as_mut().filter(|_| !more.is_empty()) {
            *description = format!("{description} {}", more.join(" "));
        }
        explain(field);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        explain(items);
    }
}

/// Of what is one word; what a part consists of by default, its fields say.
fn default(field: &JSONSchemaProps) -> Option<String> {
    match &field.default.as_ref()?.0 {
        Value::String(text) if !text.is_empty() => Some(format!("Default: {text}.")),
        value @ (Value::Number(_) | Value::Bool(_)) => Some(format!("Default: {value}.")),
        _ => None,
    }
}

fn range(field: &JSONSchemaProps) -> Option<String> {
    match (field.minimum, field.maximum) {
        (Some(least), Some(most)) => Some(format!("From {least} to {most}.")),
        (Some(least), None) => Some(format!("At least {least}.")),
        (None, Some(most)) => Some(format!("At most {most}.")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelBackend;
    use kube::CustomResourceExt as _;

    #[test]
    fn a_field_says_its_default_and_its_range() {
        let definition = serde_json::to_value(explained(ModelBackend::crd())).unwrap();
        let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        let words = |field: &Value| field["description"].as_str().unwrap().to_owned();
        let weight = words(&spec["weight"]);
        assert!(weight.ends_with(" Default: 1. From 0 to 100."), "{weight}");
        let connect = words(&spec["timeouts"]["properties"]["connect"]);
        assert!(connect.ends_with(" Default: 5s."), "{connect}");
        assert!(!words(&spec["timeouts"]).contains("Default"));
    }
}
