//! The whole state of a service, as far as two runs of the same have it alike: what is random, numbered by the API server or
//! a time is left out.

use crate::support::Namespace;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Every kind that a service is made of.
const KINDS: &str = "deployments,services,configmaps,secrets,serviceaccounts,networkpolicies,poddisruptionbudgets,\
                     horizontalpodautoscalers,controllerrevisions";
/// What the API server numbers, or when it was.
const NUMBERED: [&str; 5] = ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"];

/// All objects of a service by kind and name, and the resource itself.
pub fn of(namespace: &Namespace<'_>, name: &str) -> BTreeMap<String, Value> {
    let mut state: BTreeMap<_, _> = children(namespace, name).into_iter().map(alike).collect();
    if let Some(resource) = namespace.get(&format!("codecrucible/{name}")) {
        state.insert(
            "resource".into(),
            json!({"spec": resource["spec"], "status": without_times(&resource["status"])}),
        );
    }
    state
}

/// The objects that belong to a service, and those that say so.
pub fn children(namespace: &Namespace<'_>, name: &str) -> Vec<Value> {
    let label = format!("app.kubernetes.io/instance={name}");
    let listed = namespace.kubectl(&["get", KINDS, "-l", &label, "-o", "json"]).unwrap();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    listed["items"].as_array().cloned().unwrap_or_default()
}

fn alike(mut object: Value) -> (String, Value) {
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.retain(|field, _| !NUMBERED.contains(&field.as_str()));
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        // A hash of what is random, and a time.
        const OTHERS: [&str; 2] = ["codecrucible.dev/applied-hash", "codecrucible.dev/template-since"];
        annotations.retain(|name, _| !OTHERS.contains(&name.as_str()));
    }
    for owner in metadata.get_mut("ownerReferences").and_then(Value::as_array_mut).into_iter().flatten() {
        owner["uid"] = Value::Null;
    }
    let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
    object.as_object_mut().unwrap().remove("status");
    if object["kind"] == "Secret" {
        let data = object["data"].as_object_mut().map(std::mem::take).unwrap_or_default();
        object["data"] = data.into_iter().map(|(key, _)| (key, Value::Null)).collect::<Map<_, _>>().into();
    }
    if object["kind"] == "Service" {
        object["spec"]["clusterIP"] = Value::Null;
        object["spec"]["clusterIPs"] = Value::Null;
    }
    (name, object)
}

fn without_times(value: &Value) -> Value {
    const TIMES: [&str; 4] = ["lastTransitionTime", "publishedAt", "observedGeneration", "pod"];
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(name, _)| !TIMES.contains(&name.as_str()));
            kept.map(|(name, value)| (name.clone(), without_times(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(without_times).collect(),
        other => other.clone(),
    }
}

/// Tells in which objects two states differ.
pub fn assert_same(what: &str, seen: &BTreeMap<String, Value>, expected: &BTreeMap<String, Value>) {
    assert!(seen.keys().eq(expected.keys()), "{what}: {:?}, not {:?}", seen.keys(), expected.keys());
    for (name, object) in expected {
        assert_eq!(&seen[name], object, "{what}: {name}");
    }
}
