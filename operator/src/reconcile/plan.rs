//! What is to be done about a resource: what should exist, less what is so already.

use super::desired::{DesiredSet, Prepared, Publication, desired};
use super::drift::contains;
use super::facts::Facts;
use super::observe::Observed;
use super::outcome::Outcome;
use super::validate::validate;
use codecrucible_contract::secrets::SecretError;
use codecrucible_crds::{CodeCrucible, names};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::DynamicObject;

/// What follows from what was seen.
pub(crate) enum Decision {
    /// Nothing is to be written, and this comes of it.
    Leave(Outcome),
    /// A service is to be as planned.
    Apply(Plan),
}

/// A service as it should be.
pub(crate) struct Plan {
    /// What differs, in the order of making.
    pub(crate) changes: Vec<Prepared>,
    /// The pods that mount something older.
    pub(crate) outdated_pods: Vec<String>,
    /// What it is for its clients and its pods.
    pub(crate) publication: Publication,
}

impl Decision {
    /// Decides. Secrets that are missing are made on the way.
    pub(crate) async fn make(
        resource: &CodeCrucible,
        observed: &Observed,
        now: Timestamp,
    ) -> Result<Self, SecretError> {
        let validated = match validate(resource, observed) {
            Err(invalid) => return Ok(Self::Leave(Outcome::Invalid(invalid))),
            Ok(validated) if resource.spec.maintenance.paused => {
                return Ok(Self::Leave(Outcome::Paused { endpoint: validated.endpoint }));
            }
            Ok(validated) => validated,
        };
        let facts = Facts::gather(resource, observed, now).await?;
        Ok(Self::Apply(Plan::new(desired(resource, &validated, &facts), observed)))
    }

    /// Whether the service is well as it is.
    pub(crate) fn is_settled(&self) -> bool {
        match self {
            Self::Leave(outcome) => matches!(outcome, Outcome::Paused { .. }),
            Self::Apply(plan) => plan.changes.is_empty() && plan.outdated_pods.is_empty(),
        }
    }
}

impl Plan {
    fn new(desired: DesiredSet, observed: &Observed) -> Self {
        let DesiredSet { mut children, publication } = desired;
        children.retain(|prepared| !is_as_desired(observed.children.get(&prepared.child), prepared));
        let outdated = observed.pods.iter().filter(|pod| needs_touch(pod, &publication.configuration));
        let outdated_pods = outdated.map(|pod| pod.name_any()).collect();
        Self { changes: children, outdated_pods, publication }
    }
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
    live.is_some_and(|live| contains(&live, &prepared.object))
}

#[cfg(test)]
mod tests {
    use super::super::child::Child;
    use super::super::validate::tests as fixtures;
    use super::*;
    use serde_json::{Value, json};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

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

    #[tokio::test]
    async fn a_service_is_settled_when_nothing_differs() {
        let (resource, mut observed) = (fixtures::resource(json!({})), fixtures::observed());
        let decision = Decision::make(&resource, &observed, NOW).await.unwrap();
        assert!(!decision.is_settled());
        let Decision::Apply(plan) = decision else { panic!("it is to be applied") };
        assert_eq!(plan.changes.len(), Child::ALL.len());
        for prepared in plan.changes {
            observed.children.insert(prepared.child, serde_json::from_value(prepared.object).unwrap());
        }
        assert!(Decision::make(&resource, &observed, NOW).await.unwrap().is_settled());
        let pod = json!({"metadata": {"name": "old"}, "status": {"phase": "Running"}});
        observed.pods.push(serde_json::from_value(pod).unwrap());
        let Ok(Decision::Apply(plan)) = Decision::make(&resource, &observed, NOW).await else {
            panic!("invalid")
        };
        assert_eq!(plan.outdated_pods, ["old"]);
        assert!(!Decision::Apply(plan).is_settled());
    }

    #[tokio::test]
    async fn a_paused_service_is_settled_whatever_it_is_like() {
        let resource = fixtures::resource(json!({"maintenance": {"paused": true}}));
        assert!(Decision::make(&resource, &fixtures::observed(), NOW).await.unwrap().is_settled());
    }

    #[tokio::test]
    async fn a_wrong_resource_is_looked_at_twice() {
        let resource = fixtures::resource(json!({"backends": ["absent"]}));
        assert!(!Decision::make(&resource, &fixtures::observed(), NOW).await.unwrap().is_settled());
    }
}
