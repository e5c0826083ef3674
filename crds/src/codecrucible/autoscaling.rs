//! When replicas are added and taken away.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerBehavior;
use serde::{Deserialize, Serialize};

/// When replicas are added and taken away: by what they use of what they request (`resources.requests`).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Autoscaling {
    /// Fewest replicas.
    #[schemars(range(min = 1, max = 100))]
    pub min_replicas: i32,
    /// Most replicas.
    #[schemars(range(min = 1, max = 100))]
    pub max_replicas: i32,
    /// Processor time that replicas are to use on average, percent of what they request; 0 if it is not to count.
    #[schemars(range(min = 0, max = 1000))]
    pub target_cpu_percent: i32,
    /// Memory, likewise. A model in process takes the same all the time: let it not count then.
    #[schemars(range(min = 0, max = 1000))]
    pub target_memory_percent: i32,
    /// Requests in flight that a replica is to have on average, streams included: the metric
    /// `codecrucible_requests_in_flight` of the pods, which needs an adapter that serves `custom.metrics.k8s.io`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub target_requests_in_flight: Option<i32>,
    /// How fast. Left out: up at once, at most to twice as many in 15 s; down after 300 s of calm, at most by half in 60 s.
    /// What is given replaces both directions, and what it leaves out has Kubernetes' own defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behavior: Option<HorizontalPodAutoscalerBehavior>,
}

impl Default for Autoscaling {
    fn default() -> Self {
        Self {
            min_replicas: 3,
            max_replicas: 10,
            target_cpu_percent: 70,
            target_memory_percent: 80,
            target_requests_in_flight: None,
            behavior: None,
        }
    }
}
