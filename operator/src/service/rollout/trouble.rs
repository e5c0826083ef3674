//! What keeps replicas from serving, in the cluster's own words.

use super::progress::Progress;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;

/// What keeps replicas from serving, in the cluster's own words.
pub(crate) fn trouble(progress: &Progress, pods: &[Pod]) -> Option<String> {
    progress.replica_failure.clone().or_else(|| pods.iter().find_map(pod_trouble))
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

/// Whether a container ended so often that the kubelet waits before it starts it again.
pub(super) fn is_crashing(pod: &Pod, times: i32) -> bool {
    let containers = pod.status.iter().filter_map(|status| status.container_statuses.as_ref()).flatten();
    let waits = |container: &ContainerStatus| {
        let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
        waiting.and_then(|waiting| waiting.reason.as_deref()) == Some("CrashLoopBackOff")
    };
    containers.into_iter().any(|container| container.restart_count >= times && waits(container))
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

    fn pod_with(container: Value) -> Pod {
        let mut whole = json!({"name": "w", "image": "", "imageID": "", "restartCount": 0});
        if let (Some(whole), Value::Object(container)) = (whole.as_object_mut(), container) {
            whole.extend(container);
        }
        let pod = json!({"metadata": {"name": "p"}, "status": {"containerStatuses": [whole]}});
        serde_json::from_value(pod).unwrap()
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
    fn what_keeps_pods_from_being_made_comes_first() {
        let progress = Progress { replica_failure: Some("exceeded quota: q".into()), ..Progress::default() };
        let pod = pod_with(json!({"ready": false, "state": {"running": {}}}));
        assert_eq!(trouble(&progress, &[pod]).as_deref(), Some("exceeded quota: q"));
    }
}
