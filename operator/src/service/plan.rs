//! What is to be written for a service to be as it should: what should exist, less what is so already. Pure.

use super::child::Child;
use super::desired::{DesiredSet, Prepared, Publication, Replicas, live_replicas};
use super::history::{Chronicle, Record};
use super::observe::Observed;
use super::remediation::Eviction;
use super::rollout::{Chosen, Live, Progress, are_proven};
use super::surplus::surplus;
use crate::conventions::drift::contains;
use codecrucible_contract::Bundle;
use codecrucible_crds::{CodeCrucible, names};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::DynamicObject;

/// A service as it should be.
pub(crate) struct Plan {
    /// What is no longer wanted, to be deleted before anything else is written; ways from outside after all else.
    pub(crate) removals: Vec<Removal>,
    /// How many replicas the deployment says, if somebody else is to decide that from now on.
    pub(crate) handover: Option<i32>,
    /// What differs, in the order of making.
    pub(crate) changes: Vec<Prepared>,
    /// What is to be kept of it, and no longer kept of what it was.
    pub(crate) chronicle: Chronicle,
    /// The pods that mount something older.
    pub(crate) outdated_pods: Vec<String>,
    /// The replica that is to go, once all else is written.
    pub(crate) eviction: Option<Eviction>,
    /// What it is for its clients and its pods.
    pub(crate) publication: Publication,
}

/// An object of ours that is to go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Removal {
    pub(crate) child: Child,
    pub(crate) name: String,
    pub(crate) uid: Option<String>,
    pub(crate) version: Option<String>,
}

impl Plan {
    pub(crate) fn new(
        resource: &CodeCrucible,
        bundle: &Bundle,
        desired: DesiredSet,
        chosen: &Chosen,
        replicas: Replicas,
        observed: &Observed,
        now: Timestamp,
    ) -> Self {
        let DesiredSet { mut children, publication } = desired;
        children.retain(|prepared| !is_as_desired(observed.children.get(&prepared.child), prepared));
        let outdated = observed.pods.iter().filter(|pod| needs_touch(pod, &publication.configuration));
        let outdated_pods = outdated.map(|pod| pod.name_any()).collect();
        let changes = |child| children.iter().any(|prepared| prepared.child == child);
        let is_rolling = changes(Child::Deployment);
        let mut chronicle = Chronicle::default();
        if changes(Child::Policy) {
            let current = bundle.revision().to_string();
            chronicle.keep(resource, &observed.history, Record::of_policy(bundle), &[&current]);
        }
        if is_rolling {
            let needed = needed(resource, chosen);
            chronicle.keep(resource, &observed.history, Record::of_template(&chosen.template), &needed);
        }
        let is_handed_over =
            is_rolling && replicas == Replicas::AsTheyAre && observed.replicas_are_ours_alone;
        let deployment = observed.children.get(&Child::Deployment).filter(|_| is_handed_over);
        let is_needed_by_pods = |child| match child {
            Child::IssuedCertificate => true,
            // Gateways must not speak in the clear with pods that do not.
            Child::RouteTrust => Child::Route.is_wanted(resource),
            _ => false,
        };
        let stays = |child| is_needed_by_pods(child) && may_return(resource, chosen, observed, now);
        let (removals, handover) = (removals(resource, chosen, observed, stays), live_replicas(deployment));
        Self { removals, handover, changes: children, chronicle, outdated_pods, eviction: None, publication }
    }

    /// Whether nothing is to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.removals.is_empty()
            && self.changes.is_empty()
            && self.outdated_pods.is_empty()
            && self.eviction.is_none()
    }
}

fn removals(
    resource: &CodeCrucible,
    chosen: &Chosen,
    observed: &Observed,
    stays: impl Fn(Child) -> bool,
) -> Vec<Removal> {
    let is_wanted = |child: &Child| {
        child.is_wanted(resource) && chosen.calls_for(*child) && !observed.unserved.contains(child)
    };
    let is_unwanted = |child: &Child| !is_wanted(child) && child.is_removed() && !stays(*child);
    let unwanted = observed.children.iter().filter(|(child, _)| is_unwanted(child));
    let removal = |(child, object): (&Child, &DynamicObject)| Removal {
        child: *child,
        name: object.name_any(),
        uid: object.metadata.uid.clone(),
        // What its status says of pods that come and go does not keep a deployment.
        version: object.metadata.resource_version.clone().filter(|_| *child != Child::Canary),
    };
    unwanted.map(removal).collect()
}

/// Whether the pods of before may have to come back, or are still there. What they show must be renewed until then.
fn may_return(resource: &CodeCrucible, chosen: &Chosen, observed: &Observed, now: Timestamp) -> bool {
    let (deployment, wanted) = (observed.children.get(&Child::Deployment), Some(&*chosen.template.key));
    let is_live = Live::of(deployment).template.as_deref() == wanted;
    let has_arrived = is_live && Progress::of(deployment).is_complete();
    let has_run_well = last_good(resource) == wanted || are_proven(&observed.pods, now);
    chosen.rolled_back.is_some() || chosen.canary.is_some() || !has_arrived || !has_run_well
}

fn last_good(resource: &CodeCrucible) -> Option<&str> {
    resource.status.as_ref()?.rollout.as_ref()?.last_good.as_deref()
}

/// The templates that the service may have to go back to, or from.
fn needed<'a>(resource: &'a CodeCrucible, chosen: &'a Chosen) -> Vec<&'a str> {
    let failed = chosen.rolled_back.as_ref().map(|rolled_back| &*rolled_back.from);
    [Some(&*chosen.template.key), last_good(resource), failed].into_iter().flatten().collect()
}

fn needs_touch(pod: &Pod, configuration: &str) -> bool {
    let seen = pod.annotations().get(names::ANNOTATION_CONFIGURATION).map(String::as_str);
    let is_running = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    pod.metadata.deletion_timestamp.is_none() && is_running && seen != Some(configuration)
}

/// Whether nothing is to be written. A field that is no longer wanted shows only in the hash of all that was
/// applied, which is a part of what is compared.
fn is_as_desired(live: Option<&DynamicObject>, prepared: &Prepared) -> bool {
    let live = live.and_then(|live| serde_json::to_value(live).ok());
    live.is_some_and(|live| {
        contains(&live, &prepared.object) && surplus(prepared.child, &live, &prepared.object).is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

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
