//! The pods, hardened to Pod Security `restricted`, and how many of them may be away at once.

use super::merge;
use super::metadata::{labels, selector};
use super::mounts;
use super::placement;
use super::replicas::Replicas;
use crate::service::child::Child;
use crate::service::history::Template;
use crate::service::pod::{
    ADMIN_PORT, ANSWERS_FOLDER, CONFIGURATION_FOLDER, DISK_RESERVE_BYTES, PUBLIC_PORT, STATUS_PORT,
    TLS_ARGUMENT,
};
use crate::service::rollout::{Chosen, RolledBack};
use codecrucible_crds::{CodeCrucible, PodMetadata, TlsMode, names};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

/// Names the volumes with which an autoscaler may take a pod's node away all the same.
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
/// User and group of the workload.
const USER: i64 = 65532;
/// Time in which load balancers learn that a pod ends, seconds.
const DRAIN_SECONDS: i32 = 10;
/// What of it passes before the workload is told, seconds: the first process of a container does not hear a signal that it has not asked for yet,
/// and a pod that nobody wants any more while it starts would stay until its grace period is over.
const PRE_STOP_SECONDS: i32 = 2;
/// Time after its grace in which the workload says farewell and ends, seconds: its own 7, and 3 in reserve.
const FAREWELL_SECONDS: i32 = 10;

pub(super) fn disruption_budget(resource: &CodeCrucible) -> Value {
    json!({"spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector(resource)}}})
}

/// A deployment whose pods, and it itself, tell what they are made from, and in place of what.
pub(super) fn deployment(
    resource: &CodeCrucible,
    chosen: &Chosen,
    replicas: Replicas,
    progress_deadline: Duration,
    evicted_at: &[Timestamp],
) -> Value {
    let Chosen { template, rolled_back, since, canary: _ } = chosen;
    let mut annotations = json!({names::ANNOTATION_TEMPLATE: template.key});
    if let Some(since) = since {
        annotations[names::ANNOTATION_TEMPLATE_SINCE] = since.to_string().into();
    }
    if let Some(RolledBack { from, because }) = rolled_back {
        annotations[names::ANNOTATION_ROLLED_BACK_FROM] = from.as_str().into();
        annotations[names::ANNOTATION_ROLLED_BACK_BECAUSE] = because.as_str().into();
    }
    if !evicted_at.is_empty() {
        let evicted_at: Vec<_> = evicted_at.iter().map(Timestamp::to_string).collect();
        annotations[names::ANNOTATION_EVICTED_AT] = evicted_at.join(",").into();
    }
    let mut object = of_pods(template, &selector(resource), progress_deadline);
    object["metadata"] = json!({"annotations": annotations});
    if let Replicas::Exactly(count) = replicas {
        object["spec"]["replicas"] = count.into();
    }
    object
}

/// A deployment of pods that are tried out beside the others. They have all labels that those have, so that clients reach them too.
pub(super) fn canary(resource: &CodeCrucible, chosen: &Chosen, progress_deadline: Duration) -> Value {
    let Some(canary) = &chosen.canary else { return Value::Null };
    let track = json!({names::LABEL_TRACK: names::CANARY});
    let mut labels = selector(resource);
    merge(&mut labels, track.clone());
    let mut object = of_pods(&canary.template, &labels, progress_deadline);
    merge(&mut object["spec"]["template"], json!({"metadata": {"labels": track}}));
    object["spec"]["replicas"] = canary.replicas.into();
    object["metadata"] = json!({"annotations": {
        names::ANNOTATION_TEMPLATE: canary.template.key,
        names::ANNOTATION_TEMPLATE_SINCE: canary.since.to_string(),
        names::ANNOTATION_CANARY_STEP: canary.number().to_string(),
        names::ANNOTATION_CANARY_STEP_SINCE: canary.step_since.to_string(),
    }});
    object
}

/// A deployment's content, of pods that tell what they are made from.
fn of_pods(template: &Template, labels: &Value, progress_deadline: Duration) -> Value {
    let mut pod = template.content.clone();
    merge(&mut pod, json!({"metadata": {"annotations": {names::ANNOTATION_TEMPLATE: template.key}}}));
    json!({"spec": {
        "selector": {"matchLabels": labels},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "progressDeadlineSeconds": progress_deadline.as_secs(),
        "template": pod,
    }})
}

/// What pods are made from.
pub(super) fn template(resource: &CodeCrucible, model_claims: &[(String, String)]) -> Value {
    let PodMetadata { labels: more, annotations } = &resource.spec.pod_metadata;
    let mut metadata = json!({"labels": more});
    merge(&mut metadata, json!({"labels": labels(resource)}));
    if !annotations.is_empty() {
        metadata["annotations"] = json!(annotations);
    }
    if mounts::disk_bytes(resource).is_some() {
        // Answers can be lost: an autoscaler may take the node away.
        merge(&mut metadata, json!({"annotations": {SAFE_TO_EVICT: mounts::ANSWERS}}));
    }
    json!({"metadata": metadata, "spec": pod(resource, model_claims)})
}

fn pod(resource: &CodeCrucible, model_claims: &[(String, String)]) -> Value {
    let mut pod = json!({
        "serviceAccountName": Child::ServiceAccount.name(resource),
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": resource.spec.termination_grace_period_seconds,
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container(resource, model_claims)],
        "volumes": mounts::volumes(resource, model_claims),
    });
    let pull_secrets = &resource.spec.image.pull_secrets;
    if !pull_secrets.is_empty() {
        pod["imagePullSecrets"] = pull_secrets.iter().map(|name| json!({"name": name})).collect();
    }
    merge(&mut pod, placement::placement(resource));
    pod
}

fn container(resource: &CodeCrucible, model_claims: &[(String, String)]) -> Value {
    let image = &resource.spec.image;
    json!({
        "name": "workload",
        "image": image.reference(),
        "imagePullPolicy": image.pull_policy.as_str(),
        "args": arguments(resource),
        "ports": [
            {"name": "http", "containerPort": PUBLIC_PORT, "protocol": "TCP"},
            {"name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP"},
            {"name": "status", "containerPort": STATUS_PORT, "protocol": "TCP"},
        ],
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
        "livenessProbe": probe("/livez", 10, 3),
        "readinessProbe": probe("/readyz", 2, 2),
        "resources": resources(resource),
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts::mounts(resource, model_claims),
    })
}

/// The API server drops empty maps and lists, which would look like drift for ever.
fn resources(resource: &CodeCrucible) -> Value {
    let Value::Object(map) = json!(resource.spec.resources) else { return json!({}) };
    let is_empty = |value: &Value| {
        value.as_object().is_some_and(serde_json::Map::is_empty)
            || value.as_array().is_some_and(Vec::is_empty)
    };
    let mut resources: Value = map.into_iter().filter(|(_, value)| !is_empty(value)).collect();
    let names_disk =
        |part: &str| resources.get(part).is_some_and(|part| part.get("ephemeral-storage").is_some());
    if let Some(bytes) = mounts::disk_bytes(resource)
        && !names_disk("requests")
        && !names_disk("limits")
    {
        let most = bytes.saturating_add(DISK_RESERVE_BYTES).to_string();
        merge(&mut resources, json!({"requests": {"ephemeral-storage": most}}));
    }
    resources
}

fn arguments(resource: &CodeCrucible) -> Vec<String> {
    let mut arguments: Vec<String> = [
        ("--config", CONFIGURATION_FOLDER.to_owned()),
        ("--listen", format!("0.0.0.0:{PUBLIC_PORT}")),
        ("--admin-listen", format!("0.0.0.0:{ADMIN_PORT}")),
        ("--status-listen", format!("0.0.0.0:{STATUS_PORT}")),
        ("--drain-seconds", (DRAIN_SECONDS - PRE_STOP_SECONDS).to_string()),
        ("--grace-seconds", grace_seconds(resource).to_string()),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value])
    .collect();
    arguments.insert(0, "serve".into());
    if let Some(bytes) = mounts::disk_bytes(resource) {
        arguments
            .extend(["--cache-folder", ANSWERS_FOLDER, "--cache-bytes", &bytes.to_string()].map(Into::into));
    }
    if resource.spec.tls.mode != TlsMode::Disabled {
        arguments.push(TLS_ARGUMENT.into());
    }
    arguments
}

/// What of the pod's time is left to answers under way.
fn grace_seconds(resource: &CodeCrucible) -> i32 {
    resource.spec.termination_grace_period_seconds - DRAIN_SECONDS - FAREWELL_SECONDS
}

fn probe(path: &str, period_seconds: u32, failure_threshold: u32) -> Value {
    json!({
        "httpGet": {"path": path, "port": "admin", "scheme": "HTTP"},
        "periodSeconds": period_seconds, "timeoutSeconds": 2, "failureThreshold": failure_threshold,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use crate::service::rollout::Canary;

    #[test]
    fn empty_resources_are_left_out() {
        let given = json!({"resources": {"limits": {"cpu": "1"}, "requests": {}, "claims": []}});
        assert_eq!(resources(&fixtures::resource(given)), json!({"limits": {"cpu": "1"}}));
    }

    #[test]
    fn what_is_said_of_pods_is_added_to_what_the_operator_says_of_them() {
        let given = json!({"podMetadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}});
        let resource = fixtures::resource(given);
        let metadata = template(&resource, &[])["metadata"].clone();
        assert_eq!(
            (&metadata["labels"]["team"], &metadata["annotations"]["note"]),
            (&json!("a"), &json!("b"))
        );
        assert_eq!(metadata["labels"][names::LABEL_INSTANCE], "demo");
        let plain = template(&fixtures::resource(json!({})), &[]);
        assert_eq!(plain["metadata"].as_object().unwrap().len(), 1, "what nobody gave is not there");
    }

    #[test]
    fn pods_that_are_tried_out_have_the_labels_of_the_others_and_one_more() {
        let resource = fixtures::resource(json!({}));
        let tried = Canary { template: Template::new(template(&resource, &[])), ..fixtures::canary() };
        let chosen = Chosen {
            template: tried.template.clone(),
            rolled_back: None,
            since: None,
            canary: Some(tried.clone()),
        };
        let object = canary(&resource, &chosen, Duration::from_secs(60));
        let mut labels = tried.template.content["metadata"]["labels"].clone();
        labels[names::LABEL_TRACK] = names::CANARY.into();
        assert_eq!(object["spec"]["template"]["metadata"]["labels"], labels);
        let mut selected = selector(&resource);
        selected[names::LABEL_TRACK] = names::CANARY.into();
        assert_eq!(object["spec"]["selector"]["matchLabels"], selected);
        let annotations = &object["metadata"]["annotations"];
        assert_eq!(annotations[names::ANNOTATION_TEMPLATE], tried.template.key.as_str());
        assert_eq!(
            (&annotations[names::ANNOTATION_CANARY_STEP], &object["spec"]["replicas"]),
            (&json!("1"), &json!(1))
        );
    }
}
