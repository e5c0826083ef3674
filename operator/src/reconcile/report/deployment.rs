//! What the deployment and its pods tell.

use crate::reconcile::observe::Observed;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;
use kube::api::DynamicObject;

/// The state of the rollout.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rollout {
    pub(super) image: Option<String>,
    pub(super) desired: i32,
    pub(super) replicas: i32,
    pub(super) ready: i32,
    pub(super) available: i32,
    /// Replicas that run the newest pod template.
    pub(super) updated: i32,
    /// Whether the deployment's controller has seen its newest spec.
    pub(super) is_observed: bool,
    /// Whether it gave up.
    pub(super) deadline_exceeded: bool,
}

impl Rollout {
    /// Reads the deployment; an absent one has nothing.
    pub(super) fn of(deployment: Option<&DynamicObject>) -> Self {
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
            deadline_exceeded: deadline_exceeded(&status),
        }
    }

    /// Whether every replica runs the newest template and no older one is left.
    pub(super) fn is_complete(&self) -> bool {
        self.is_observed
            && self.updated == self.desired
            && self.replicas == self.desired
            && self.available == self.desired
    }
}

fn deadline_exceeded(status: &DeploymentStatus) -> bool {
    let conditions = status.conditions.iter().flatten();
    conditions.into_iter().any(|condition| {
        condition.type_ == "Progressing"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
    })
}

/// What keeps the first pod in trouble from serving, in the kubelet's words.
pub(super) fn pod_trouble(observed: &Observed) -> Option<String> {
    observed.pods.iter().find_map(trouble)
}

fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let unschedulable = status.conditions.iter().flatten().find(|condition| {
        condition.type_ == "PodScheduled" && condition.status == "False" && condition.message.is_some()
    });
    let message = unschedulable.and_then(|condition| condition.message.clone());
    let message =
        message.or_else(|| status.container_statuses.iter().flatten().find_map(container_trouble))?;
    Some(format!("pod {}: {message}", pod.name_any()))
}

fn container_trouble(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting
        .reason
        .as_deref()
        .filter(|reason| !["ContainerCreating", "PodInitializing"].contains(reason))?;
    Some(match &waiting.message {
        Some(message) => format!("{reason}: {message}"),
        None => reason.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rollout(status: Value) -> Rollout {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "demo", "generation": 2},
            "spec": {"replicas": 3, "selector": {}, "template": {"spec": {"containers": [{"name": "w", "image": "i:1"}]}}},
            "status": status,
        });
        Rollout::of(Some(&serde_json::from_value(object).unwrap()))
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
    fn the_kubelets_words_are_passed_on() {
        let pod = json!({"metadata": {"name": "p"}, "status": {"containerStatuses": [{
            "name": "w", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        assert_eq!(trouble(&pod).as_deref(), Some("pod p: ErrImagePull: not found"));
    }
}
