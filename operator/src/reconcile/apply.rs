//! Step four: all writes except `status`.

use super::Context;
use super::child::Child;
use super::desired::{DesiredSet, Prepared};
use super::drift::contains;
use super::observe::Observed;
use super::outcome::Outcome;
use codecrucible_crds::{CodeCrucible, PolicyStatus, names};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

/// What exists now.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) policy: PolicyStatus,
    pub(crate) endpoint: String,
    /// The deployment as the API server gave it back.
    pub(crate) deployment: Option<DynamicObject>,
}

/// Which write failed.
#[derive(Debug, thiserror::Error)]
#[error("{kind} {name}: {error}")]
pub(crate) struct ApplyError {
    kind: &'static str,
    name: String,
    #[source]
    error: Box<kube::Error>,
}

/// Writes what differs, in the order of making, and touches pods that mount something older.
pub(crate) async fn apply(
    context: &Context,
    resource: &CodeCrucible,
    observed: &Observed,
    desired: DesiredSet,
) -> Outcome {
    match try_apply(context, resource, observed, desired).await {
        Ok(applied) => Outcome::Applied(applied),
        Err(error) => Outcome::Failed(error),
    }
}

async fn try_apply(
    context: &Context,
    resource: &CodeCrucible,
    observed: &Observed,
    desired: DesiredSet,
) -> Result<Applied, ApplyError> {
    let DesiredSet { children, policy, endpoint, configuration } = desired;
    let mut deployment = observed.children.get(&Child::Deployment).cloned();
    for prepared in children {
        let live = observed.children.get(&prepared.child);
        if is_as_desired(live, &prepared) {
            continue;
        }
        let child = prepared.child;
        let written = write(context, resource, prepared, live).await?;
        if child == Child::Deployment {
            deployment = Some(written);
        }
    }
    touch_pods(context, resource, observed, &configuration).await?;
    Ok(Applied { policy, endpoint, deployment })
}

/// Whether nothing is to be written. A field that is no longer wanted shows only in the hash of all that was
/// applied, which is a part of what is compared.
fn is_as_desired(live: Option<&DynamicObject>, prepared: &Prepared) -> bool {
    let live = live.and_then(|live| serde_json::to_value(live).ok());
    live.is_some_and(|live| contains(&live, &prepared.object))
}

async fn write(
    context: &Context,
    resource: &CodeCrucible,
    prepared: Prepared,
    live: Option<&DynamicObject>,
) -> Result<DynamicObject, ApplyError> {
    let Prepared { child, name, object } = prepared;
    let namespace = resource.namespace().unwrap_or_default();
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &namespace, &child.api_resource());
    let written = match live {
        Some(live) => replace(&api, &name, object, live).await,
        None if child.is_generated() => create(&api, object).await,
        // Without force: what somebody else put there since we looked is a conflict, not ours to take.
        None => api.patch(&name, &PatchParams::apply(names::FIELD_MANAGER), &Patch::Apply(&object)).await,
    };
    context.metrics.writes.with_label_values(&[child.kind()]).inc();
    written.map_err(|error| ApplyError { kind: child.kind(), name, error: Box::new(error) })
}

/// Applies over the object that was looked at, and over no other of its name.
async fn replace(
    api: &Api<DynamicObject>,
    name: &str,
    mut object: Value,
    live: &DynamicObject,
) -> kube::Result<DynamicObject> {
    object["metadata"]["uid"] = json!(live.metadata.uid);
    api.patch(name, &PatchParams::apply(names::FIELD_MANAGER).force(), &Patch::Apply(&object)).await
}

/// Created, not applied: should the object have come into being since we looked, the key in it stays.
async fn create(api: &Api<DynamicObject>, object: Value) -> kube::Result<DynamicObject> {
    let parameters =
        PostParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let object = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
    api.create(&parameters, &object).await
}

/// A changed annotation makes the kubelet refresh what a pod mounts at once, instead of within 90 seconds.
async fn touch_pods(
    context: &Context,
    resource: &CodeCrucible,
    observed: &Observed,
    configuration: &str,
) -> Result<(), ApplyError> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &resource.namespace().unwrap_or_default());
    let patch = json!({"metadata": {"annotations": {names::ANNOTATION_CONFIGURATION: configuration}}});
    for pod in observed.pods.iter().filter(|pod| needs_touch(pod, configuration)) {
        let name = pod.name_any();
        let touched = api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        context.metrics.writes.with_label_values(&["Pod"]).inc();
        match touched {
            // It went in the meantime.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                return Err(ApplyError { kind: "Pod", name, error: Box::new(error) });
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

fn needs_touch(pod: &Pod, configuration: &str) -> bool {
    let seen = pod.annotations().get(names::ANNOTATION_CONFIGURATION).map(String::as_str);
    let is_running = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    pod.metadata.deletion_timestamp.is_none() && is_running && seen != Some(configuration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared() -> Prepared {
        let object = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "demo", "annotations": {names::ANNOTATION_APPLIED_HASH: "now"}},
            "spec": {"type": "ClusterIP"},
        });
        Prepared { child: Child::Service, name: "demo".into(), object }
    }

    fn is_left(change: impl FnOnce(&mut Value)) -> bool {
        let mut object = prepared().object;
        object["spec"]["clusterIP"] = json!("10.0.0.1");
        change(&mut object);
        is_as_desired(Some(&serde_json::from_value(object).unwrap()), &prepared())
    }

    #[test]
    fn a_missing_or_changed_child_is_written_and_a_right_one_left() {
        assert!(!is_as_desired(None, &prepared()));
        assert!(!is_left(|object| object["spec"]["type"] = json!("NodePort")));
        assert!(is_left(|_| {}));
    }

    #[test]
    fn what_is_no_longer_wanted_is_a_write() {
        // Everything that is wanted is there; only the hash tells that more was applied before.
        assert!(!is_left(|object| {
            object["spec"]["externalName"] = json!("left over");
            object["metadata"]["annotations"][names::ANNOTATION_APPLIED_HASH] = json!("earlier");
        }));
    }
}
