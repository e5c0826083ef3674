//! The pods of a service.

use super::look::PAGE_PODS;
use super::{Look, ObserveError, failed};
use crate::service::Context;
use crate::service::child::Child;
use crate::service::desired::metadata::selector_text;
use codecrucible_crds::{CodeCrucible, names};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

/// Most pages that are looked at; a service has at most 100 replicas, and as many on their way out.
const MAX_PAGES: usize = 25;

pub(crate) async fn pods(
    context: &Context,
    resource: &CodeCrucible,
    look: Look,
) -> Result<Vec<Pod>, ObserveError> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &resource.namespace().unwrap_or_default());
    let labels = selector_text(resource);
    let deployments = [Child::Deployment, Child::Canary].map(|child| child.name(resource));
    let mut parameters = look.of_pods(&context.newest).labels(&labels);
    let is_ours = |pod: &Pod| deployments.iter().any(|deployment| is_of_deployment(pod, deployment));
    let mut found = Vec::new();
    for _ in 0..MAX_PAGES {
        let page = api.list(&parameters).await.map_err(failed("Pods"))?;
        found.extend(page.items.into_iter().filter(is_ours).map(lean));
        let Some(next) = page.metadata.continue_.filter(|next| !next.is_empty()) else { break };
        parameters = ListParams::default().limit(PAGE_PODS).labels(&labels).continue_token(&next);
    }
    Ok(found)
}

/// Only what is looked at: the rest may be large.
fn lean(mut pod: Pod) -> Pod {
    pod.spec = None;
    pod.metadata.managed_fields = None;
    let is_ours = |name: &str| [names::ANNOTATION_CONFIGURATION, names::ANNOTATION_TEMPLATE].contains(&name);
    pod.annotations_mut().retain(|name, _| is_ours(name));
    pod
}

/// Whether a pod was made for a deployment. Anybody can give a pod our labels.
fn is_of_deployment(pod: &Pod, deployment: &str) -> bool {
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
    let template = pod.labels().get("pod-template-hash");
    owner.zip(template).is_some_and(|(owner, template)| {
        owner.kind == "ReplicaSet" && owner.name == format!("{deployment}-{template}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_strangers_pod_with_our_labels_is_not_taken_for_a_replica() {
        let pod = |kind: &str, owner: &str| -> Pod {
            let owner = json!([{"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": "1", "controller": true}]);
            let metadata =
                json!({"name": "p", "labels": {"pod-template-hash": "abc"}, "ownerReferences": owner});
            serde_json::from_value(json!({"metadata": metadata})).unwrap()
        };
        assert!(is_of_deployment(&pod("ReplicaSet", "demo-abc"), "demo"));
        assert!(!is_of_deployment(&pod("ReplicaSet", "other-abc"), "demo"));
        assert!(!is_of_deployment(&pod("Job", "demo-abc"), "demo"));
        assert!(!is_of_deployment(&Pod::default(), "demo"));
    }
}
