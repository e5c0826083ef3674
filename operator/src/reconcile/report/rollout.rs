//! How far the deployment has come, and what keeps it from going on.

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
    /// Why no pod can be made: a quota, a limit range, an admission plugin.
    pub(super) replica_failure: Option<String>,
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
            replica_failure: replica_failure(&status),
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

fn replica_failure(status: &DeploymentStatus) -> Option<String> {
    let conditions = status.conditions.iter().flatten();
    let failure = conditions
        .into_iter()
        .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")?;
    failure.message.clone()
}

/// What keeps replicas from serving, in the cluster's own words.
pub(super) fn trouble(rollout: &Rollout, observed: &Observed) -> Option<String> {
    rollout.replica_failure.clone().or_else(|| observed.pods.iter().find_map(pod_trouble))
}

fn pod_trouble(pod: &Pod) -> Option<String> {
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let status = pod.status.as_ref()?;
    let unschedulable = status.conditions.iter().flatten().find(|condition| {
        condition.type_ == "PodScheduled" && condition.status == "False" && condition.message.is_some()
    });
    let message = unschedulable.and_then(|condition| condition.message.clone());
    let name = pod.name_any();
    let containers = || status.container_statuses.iter().flatten();
    let message = message
        .or_else(|| containers().find_map(container_trouble))
        .or_else(|| containers().find_map(|container| unready(container, &name)))?;
    Some(format!("pod {name}: {message}"))
}

/// The kubelet does not say what a probe was told; the log does.
fn unready(container: &ContainerStatus, pod: &str) -> Option<String> {
    let runs = container.state.as_ref()?.running.is_some();
    (runs && !container.ready).then(|| format!("runs but is not ready; `kubectl logs {pod}` tells why"))
}

fn container_trouble(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting
        .reason
        .as_deref()
        .filter(|reason| !["ContainerCreating", "PodInitializing"].contains(reason))?;
    let earlier = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let ended = earlier.map_or_else(String::new, |ended| {
        let reason = ended.reason.as_deref().unwrap_or("ended");
        format!(" (last time: {reason}, exit code {})", ended.exit_code)
    });
    Some(match &waiting.message {
        Some(message) => format!("{reason}: {message}{ended}"),
        None => format!("{reason}{ended}"),
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

    fn pod_with(container: Value) -> Pod {
        let mut whole = json!({"name": "w", "image": "", "imageID": "", "restartCount": 0});
        if let (Some(whole), Value::Object(container)) = (whole.as_object_mut(), container) {
            whole.extend(container);
        }
        let pod = json!({"metadata": {"name": "p"}, "status": {"containerStatuses": [whole]}});
        serde_json::from_value(pod).unwrap()
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
        let pod = pod_with(
            json!({"ready": false, "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}),
        );
        assert_eq!(pod_trouble(&pod).as_deref(), Some("pod p: ErrImagePull: not found"));
    }

    #[test]
    fn a_crash_is_told_with_how_it_ended() {
        let pod = pod_with(json!({
            "ready": false, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
        }));
        let told = "pod p: CrashLoopBackOff (last time: OOMKilled, exit code 137)";
        assert_eq!(pod_trouble(&pod).as_deref(), Some(told));
    }

    #[test]
    fn a_replica_that_runs_without_being_ready_points_to_its_log() {
        let running = |ready| pod_with(json!({"ready": ready, "state": {"running": {}}}));
        assert!(pod_trouble(&running(false)).unwrap().contains("kubectl logs p"));
        assert_eq!(pod_trouble(&running(true)), None);
    }

    #[test]
    fn a_quota_that_refuses_pods_is_passed_on() {
        let rollout = rollout(json!({"observedGeneration": 2, "conditions": [
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: q"}]}));
        let told = trouble(&rollout, &crate::reconcile::validate::tests::observed());
        assert_eq!(told.as_deref(), Some("exceeded quota: q"));
    }
}
