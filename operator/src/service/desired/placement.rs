//! On which nodes the pods run: what the resource says, and where it says nothing, spread over nodes.

use super::metadata::selector;
use codecrucible_crds::{CodeCrucible, Placement};
use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use serde_json::{Map, Value, json};

/// The fields of a pod's `spec`.
pub(super) fn placement(resource: &CodeCrucible) -> Value {
    let Placement { node_selector, tolerations, affinity, topology_spread_constraints, priority_class_name } =
        &resource.spec.placement;
    let given = [
        ("nodeSelector", json!(node_selector)),
        ("tolerations", json!(tolerations)),
        ("affinity", json!(affinity)),
        ("topologySpreadConstraints", spread(resource, topology_spread_constraints.as_deref())),
        ("priorityClassName", json!(priority_class_name)),
    ];
    let fields = given.map(|(field, value)| (field.to_owned(), as_stored(value)));
    Value::Object(fields.into_iter().filter(|(_, value)| !is_absent(value)).collect())
}

fn spread(resource: &CodeCrucible, given: Option<&[TopologySpreadConstraint]>) -> Value {
    let own = json!({"matchLabels": selector(resource)});
    let Some(given) = given else {
        return json!([{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": own,
        }]);
    };
    let constraint = |constraint: &TopologySpreadConstraint| {
        let mut value = json!(constraint);
        if constraint.label_selector.is_none() {
            value["labelSelector"] = own.clone();
        }
        value
    };
    given.iter().map(constraint).collect()
}

fn is_absent(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// As the API server stores it, which would otherwise look like drift for ever: it drops lists that are empty, and maps
/// of labels; an empty selector means something, and stays.
fn as_stored(value: Value) -> Value {
    let is_dropped = |key: &str, value: &Value| match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty() && key == "matchLabels",
        _ => false,
    };
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(key, value)| !is_dropped(key, value));
            Value::Object(kept.map(|(key, value)| (key, as_stored(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.into_iter().map(as_stored).collect(),
        scalar => scalar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;

    fn placed(given: Value) -> Value {
        placement(&fixtures::resource(json!({ "placement": given })))
    }

    #[test]
    fn pods_are_spread_over_nodes_unless_something_else_is_said() {
        let constraints = |placed: Value| placed["topologySpreadConstraints"].clone();
        let default = constraints(placed(json!({})));
        assert_eq!(default[0]["topologyKey"], "kubernetes.io/hostname");
        assert!(constraints(placed(json!({"topologySpreadConstraints": []}))).is_null());
        let zone = json!({"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"});
        let given = constraints(placed(json!({"topologySpreadConstraints": [zone]})));
        assert_eq!((given.as_array().unwrap().len(), &given[0]["maxSkew"]), (1, &json!(2)));
        assert_eq!(given[0]["labelSelector"], default[0]["labelSelector"], "the pods of the service");
    }

    #[test]
    fn the_rest_is_passed_on_without_what_the_api_server_drops() {
        let term = json!({"topologyKey": "zone", "namespaceSelector": {},
            "labelSelector": {"matchLabels": {}, "matchExpressions": []}});
        let affinity = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
        let toleration = json!({"key": "gpu", "operator": "Exists"});
        let placed = placed(json!({
            "nodeSelector": {"disk": "ssd"}, "tolerations": [toleration], "affinity": affinity,
            "priorityClassName": "high", "topologySpreadConstraints": [],
        }));
        let term = json!({"topologyKey": "zone", "namespaceSelector": {}, "labelSelector": {}});
        let affinity = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
        let expected = json!({
            "nodeSelector": {"disk": "ssd"}, "tolerations": [toleration], "affinity": affinity,
            "priorityClassName": "high",
        });
        assert_eq!(placed, expected);
    }
}
