//! Step four: all writes except `status`.

use super::Context;
use super::child::Child;
use super::desired::{DesiredSet, Prepared};
use super::drift::contains;
use super::observe::Observed;
use super::validate::Invalid;
use codecrucible_crds::{CodeCrucible, PolicyStatus, names};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

/// How far a reconcile came.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one of them exists in a reconcile")]
pub(crate) enum Outcome {
    /// The resource is wrong; nothing was written, what serves goes on serving.
    Invalid(Invalid),
    /// The resource says that nothing is to be written.
    Paused((Option<PolicyStatus>, String)),
    /// Everything that could be written is written.
    Applied(Applied),
    /// A write failed.
    Failed(ApplyError),
}

/// What exists now.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) policy: PolicyStatus,
    pub(crate) endpoint: String,
    /// Names that are taken by objects of somebody else, as `Kind name`.
    pub(crate) not_owned: Vec<String>,
    /// The deployment as the API server gave it back.
    pub(crate) deployment: Option<DynamicObject>,
}

/// Which write failed.
#[derive(Debug, thiserror::Error)]
#[error("{kind} {name}: {error}")]
pub struct ApplyError {
    kind: &'static str,
    name: String,
    #[source]
    error: Box<kube::Error>,
}

impl Outcome {
    /// What is to be tried again is an error.
    pub(crate) fn into_result(self) -> Result<(), ApplyError> {
        match self {
            Self::Failed(error) => Err(error),
            Self::Invalid(_) | Self::Paused(_) | Self::Applied(_) => Ok(()),
        }
    }
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
    let mut not_owned = Vec::new();
    let mut deployment = observed.children.get(&Child::Deployment).cloned();
    for prepared in children {
        let child = prepared.child;
        match decide(resource, observed.children.get(&child), &prepared) {
            Decision::Leave => {}
            Decision::NotOwned => {
                not_owned.push(format!("{} {}", child.kind(), prepared.name));
                if child == Child::Deployment {
                    deployment = None;
                }
            }
            Decision::Write => {
                let written = write(context, resource, prepared, observed).await?;
                if child == Child::Deployment {
                    deployment = Some(written);
                }
            }
        }
    }
    touch_pods(context, resource, observed, &configuration).await?;
    Ok(Applied { policy, endpoint, not_owned, deployment })
}

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Leave,
    NotOwned,
    Write,
}

/// What to do about one child: nothing where nothing differs, nothing where it is not ours.
fn decide(resource: &CodeCrucible, live: Option<&DynamicObject>, prepared: &Prepared) -> Decision {
    let Some(live) = live else { return Decision::Write };
    if !is_owned(resource, live) {
        return Decision::NotOwned;
    }
    let live = serde_json::to_value(live).unwrap_or(Value::Null);
    if contains(&live, &prepared.object) { Decision::Leave } else { Decision::Write }
}

fn is_owned(resource: &CodeCrucible, live: &DynamicObject) -> bool {
    let owner = live.owner_references().iter().find(|owner| owner.controller == Some(true));
    owner.is_some_and(|owner| Some(&owner.uid) == resource.metadata.uid.as_ref())
}

async fn write(
    context: &Context,
    resource: &CodeCrucible,
    prepared: Prepared,
    observed: &Observed,
) -> Result<DynamicObject, ApplyError> {
    let Prepared { child, name, object } = prepared;
    let namespace = resource.namespace().unwrap_or_default();
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &namespace, &child.api_resource());
    let is_new = !observed.children.contains_key(&child);
    let written = if is_new && child.is_generated() {
        // Created, not applied: should the object have come into being since we looked, the key in it stays.
        let parameters =
            PostParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PostParams::default() };
        match serde_json::from_value(object) {
            Ok(object) => api.create(&parameters, &object).await,
            Err(error) => Err(kube::Error::SerdeError(error)),
        }
    } else {
        api.patch(&name, &PatchParams::apply(names::FIELD_MANAGER).force(), &Patch::Apply(&object)).await
    };
    context.metrics.writes.with_label_values(&[child.kind()]).inc();
    written.map_err(|error| ApplyError { kind: child.kind(), name, error: Box::new(error) })
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
    use super::super::validate::tests as fixtures;
    use super::*;

    fn prepared() -> Prepared {
        let object = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "demo", "ownerReferences": [{"apiVersion": "v1", "kind": "CodeCrucible", "name": "demo", "uid": "1-2-3", "controller": true}]},
            "spec": {"type": "ClusterIP"},
        });
        Prepared { child: Child::Service, name: "demo".into(), object }
    }

    fn live(change: impl FnOnce(&mut Value)) -> DynamicObject {
        let mut object = prepared().object;
        object["spec"]["clusterIP"] = json!("10.0.0.1");
        change(&mut object);
        serde_json::from_value(object).unwrap()
    }

    fn decision(live: Option<DynamicObject>) -> Decision {
        decide(&fixtures::resource(json!({})), live.as_ref(), &prepared())
    }

    #[test]
    fn a_missing_or_changed_child_is_written_and_a_right_one_left() {
        assert_eq!(decision(None), Decision::Write);
        assert_eq!(
            decision(Some(live(|object| object["spec"]["type"] = json!("NodePort")))),
            Decision::Write
        );
        assert_eq!(decision(Some(live(|_| {}))), Decision::Leave);
    }

    #[test]
    fn an_object_of_somebody_else_is_never_taken() {
        let owners = "/metadata/ownerReferences";
        let set = |value: Value| live(|object| *object.pointer_mut(owners).unwrap() = value);
        assert_eq!(decision(Some(set(json!([])))), Decision::NotOwned);
        let of_an_earlier_namesake = json!([{"apiVersion": "v1", "kind": "CodeCrucible", "name": "demo", "uid": "0-0-0", "controller": true}]);
        assert_eq!(decision(Some(set(of_an_earlier_namesake))), Decision::NotOwned);
        let not_controlled =
            json!([{"apiVersion": "v1", "kind": "CodeCrucible", "name": "demo", "uid": "1-2-3"}]);
        assert_eq!(decision(Some(set(not_controlled))), Decision::NotOwned);
    }
}
