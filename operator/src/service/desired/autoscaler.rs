//! When replicas are added and taken away.

use crate::service::child::Child;
use codecrucible_contract::REQUESTS_IN_FLIGHT_METRIC;
use codecrucible_crds::{Autoscaling, CodeCrucible};
use serde_json::{Value, json};

/// While pods are tried out, it counts them as its own: load they take off the others, but memory they only add, so that both would
/// drive each other up.
pub(super) fn autoscaler(resource: &CodeCrucible, is_beside_a_canary: bool) -> Value {
    let autoscaling = resource.spec.autoscaling.clone().unwrap_or_default();
    let Autoscaling {
        min_replicas,
        max_replicas,
        target_cpu_percent,
        target_memory_percent,
        target_requests_in_flight,
        behavior,
    } = &autoscaling;
    let is_another = *target_cpu_percent > 0 || target_requests_in_flight.is_some();
    let memory_percent = if is_beside_a_canary && is_another { 0 } else { *target_memory_percent };
    let targets = [("cpu", *target_cpu_percent), ("memory", memory_percent)];
    let used = targets.into_iter().filter(|(_, percent)| *percent > 0).map(resource_metric);
    let metrics: Vec<Value> = used.chain(target_requests_in_flight.map(in_flight_metric)).collect();
    let behavior = behavior.as_ref().map_or_else(default_behavior, |behavior| json!(behavior));
    json!({"spec": {
        "scaleTargetRef": {
            "apiVersion": Child::Deployment.api_resource().api_version,
            "kind": Child::Deployment.kind(),
            "name": Child::Deployment.name(resource),
        },
        "minReplicas": min_replicas, "maxReplicas": max_replicas, "metrics": metrics, "behavior": behavior,
    }})
}

/// What the pods tell of themselves, by way of an adapter for custom metrics.
fn in_flight_metric(average: i32) -> Value {
    let target = json!({"type": "AverageValue", "averageValue": average.to_string()});
    json!({"type": "Pods", "pods": {"metric": {"name": REQUESTS_IN_FLIGHT_METRIC}, "target": target}})
}

fn resource_metric((name, percent): (&str, i32)) -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": percent});
    json!({"type": "Resource", "resource": {"name": name, "target": target}})
}

/// Up at once and at most to twice as many in 15 s; down to what was enough for 300 s, at most by half in 60 s.
fn default_behavior() -> Value {
    let at_most =
        |percent: i32, seconds: i32| json!([{"type": "Percent", "value": percent, "periodSeconds": seconds}]);
    json!({
        "scaleUp": {"stabilizationWindowSeconds": 0, "policies": at_most(100, 15)},
        "scaleDown": {"stabilizationWindowSeconds": 300, "policies": at_most(50, 60)},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;

    #[test]
    fn what_is_not_to_count_is_left_out() {
        let metrics = |autoscaling: Value, is_beside_a_canary| {
            let resource = fixtures::resource(json!({ "autoscaling": autoscaling }));
            let metrics = autoscaler(&resource, is_beside_a_canary)["spec"]["metrics"].clone();
            let names = metrics.as_array().unwrap().iter().map(|metric| metric["resource"]["name"].clone());
            names.collect::<Vec<_>>()
        };
        assert_eq!(metrics(json!({}), false), ["cpu", "memory"]);
        assert_eq!(metrics(json!({"targetMemoryPercent": 0}), false), ["cpu"]);
        assert_eq!(metrics(json!({}), true), ["cpu"], "memory would drive it up");
        assert_eq!(metrics(json!({"targetCpuPercent": 0}), true), ["memory"], "there is no other");
    }
}
