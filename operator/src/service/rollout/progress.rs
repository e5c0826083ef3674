//! How far the deployment has come.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus};
use kube::api::DynamicObject;

/// How far a rollout has come.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) image: Option<String>,
    pub(crate) desired: i32,
    pub(crate) replicas: i32,
    pub(crate) ready: i32,
    pub(crate) available: i32,
    /// Replicas that run the newest pod template.
    pub(crate) updated: i32,
    /// Whether the deployment's controller has seen its newest spec.
    pub(crate) is_observed: bool,
    /// Whether it gave up.
    pub(crate) deadline_exceeded: bool,
    /// When it did.
    pub(crate) exceeded_at: Option<Timestamp>,
    /// Since when some replica is missing, if one is. None may be while no older one is to go.
    pub(crate) unavailable_since: Option<Timestamp>,
    /// Why no pod can be made: a quota, a limit range, an admission plugin.
    pub(crate) replica_failure: Option<String>,
}

impl Progress {
    /// Reads the deployment; an absent one has nothing.
    pub(crate) fn of(deployment: Option<&DynamicObject>) -> Self {
        let parsed: Option<Deployment> = deployment
            .and_then(|object| serde_json::to_value(object).ok())
            .and_then(|value| serde_json::from_value(value).ok());
        let Some(deployment) = parsed else {
            return Self::default();
        };
        let status = deployment.status.unwrap_or_default();
        let spec = deployment.spec.unwrap_or_default();
        let container = spec.template.spec.and_then(|pod| pod.containers.into_iter().next());
        Self {
            image: container.and_then(|container| container.image),
            desired: spec.replicas.unwrap_or(1),
            replicas: status.replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            is_observed: status.observed_generation >= deployment.metadata.generation,
            deadline_exceeded: exceeded(&status).is_some(),
            unavailable_since: unavailable_since(&status),
            exceeded_at: exceeded(&status).and_then(|condition| Some(condition.last_update_time.as_ref()?.0)),
            replica_failure: replica_failure(&status),
        }
    }

    /// Whether every replica runs the newest template and no older one is left.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_observed
            && self.updated == self.desired
            && self.replicas == self.desired
            && self.available == self.desired
    }
}

fn exceeded(status: &DeploymentStatus) -> Option<&DeploymentCondition> {
    let conditions = status.conditions.iter().flatten();
    conditions.into_iter().find(|condition| {
        condition.type_ == "Progressing"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
    })
}

fn unavailable_since(status: &DeploymentStatus) -> Option<Timestamp> {
    let mut conditions = status.conditions.iter().flatten();
    let unavailable =
        conditions.find(|condition| condition.type_ == "Available" && condition.status == "False")?;
    Some(unavailable.last_transition_time.as_ref()?.0)
}

fn replica_failure(status: &DeploymentStatus) -> Option<String> {
    let conditions = status.conditions.iter().flatten();
    let failure = conditions
        .into_iter()
        .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")?;
    failure.message.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rollout(status: Value) -> Progress {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "demo", "generation": 2},
            "spec": {"replicas": 3, "selector": {}, "template": {"spec": {"containers": [{"name": "w", "image": "i:1"}]}}},
            "status": status,
        });
        Progress::of(Some(&serde_json::from_value(object).unwrap()))
    }

    #[test]
    fn a_status_of_an_older_generation_completes_nothing() {
        let status = |generation| json!({"observedGeneration": generation, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, "readyReplicas": 3});
        assert!(!rollout(status(1)).is_complete());
        assert!(rollout(status(2)).is_complete());
    }

    #[test]
    fn a_surplus_replica_is_not_complete() {
        let status =
            json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 3, "availableReplicas": 3});
        assert!(!rollout(status).is_complete());
    }

    #[test]
    fn a_replica_that_is_missing_is_so_since_then() {
        let since = "2026-01-01T00:00:00Z";
        let of = |state: &str| {
            let available = json!({"type": "Available", "status": state, "lastTransitionTime": since});
            rollout(json!({"conditions": [available]})).unavailable_since
        };
        assert_eq!((of("False"), of("True")), (since.parse().ok(), None));
    }

    #[test]
    fn a_quota_that_refuses_pods_is_seen() {
        let refused = rollout(json!({"observedGeneration": 2, "conditions": [
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: q"}]}));
        assert_eq!(refused.replica_failure.as_deref(), Some("exceeded quota: q"));
    }
}
