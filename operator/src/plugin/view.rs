//! What there is to see of a service: its resource, its pods and its backends, put together.

use super::paint::harmless;
use crate::service::pods_of;
use codecrucible_crds::{
    BackendType, ClientsStatus, CodeCrucible, ModelBackend, PolicyStatus, RolloutStatus,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _};
use serde::Serialize;

/// A service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    pub(super) name: String,
    pub(super) namespace: String,
    /// Whether the status speaks of the resource as it is.
    pub(super) is_current: bool,
    pub(super) conditions: Vec<ConditionView>,
    pub(super) endpoint: Option<String>,
    pub(super) policy: Option<PolicyStatus>,
    pub(super) rollout: Option<RolloutStatus>,
    pub(super) clients: Option<ClientsStatus>,
    pub(super) pods: Vec<PodView>,
    pub(super) backends: Vec<BackendView>,
}

#[derive(Debug, Serialize)]
pub(super) struct ConditionView {
    #[serde(rename = "type")]
    pub(super) type_: String,
    #[serde(rename = "isTrue")]
    pub(super) is_true: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodView {
    pub(super) name: String,
    pub(super) is_ready: bool,
    pub(super) restarts: i32,
    /// The policy that it said it runs.
    pub(super) policy: Option<String>,
    /// What it refuses.
    pub(super) refuses: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct BackendView {
    pub(super) name: String,
    /// Nothing where there is no such backend.
    pub(super) kind: Option<String>,
    pub(super) models: Vec<String>,
}

impl View {
    pub(super) async fn of(client: &Client, resource: &CodeCrucible) -> anyhow::Result<Self> {
        let namespace = resource.namespace().unwrap_or_default();
        let pods = pods_of(client, resource).await?;
        let api: Api<ModelBackend> = Api::namespaced(client.clone(), &namespace);
        let mut backends = Vec::new();
        for name in &resource.spec.backends {
            backends.push(BackendView::of(name, api.get_opt(name).await?.as_ref()));
        }
        Ok(Self::put_together(resource, &pods, backends))
    }

    pub(super) fn put_together(resource: &CodeCrucible, pods: &[Pod], backends: Vec<BackendView>) -> Self {
        let status = resource.status.clone().unwrap_or_default();
        let conditions = status.conditions.iter().map(|condition| ConditionView {
            type_: condition.type_.clone(),
            is_true: condition.status == "True",
            reason: harmless(&condition.reason),
            message: harmless(&condition.message),
        });
        Self {
            name: resource.name_any(),
            namespace: resource.namespace().unwrap_or_default(),
            is_current: status.observed_generation == resource.metadata.generation,
            conditions: conditions.collect(),
            endpoint: status.endpoint,
            pods: pods.iter().map(|pod| PodView::of(pod, status.policy.as_ref())).collect(),
            policy: status.policy,
            rollout: status.rollout,
            clients: status.clients,
            backends,
        }
    }

    pub(super) fn condition(&self, type_: &str) -> Option<&ConditionView> {
        self.conditions.iter().find(|condition| condition.type_ == type_)
    }
}

impl PodView {
    fn of(pod: &Pod, policy: Option<&PolicyStatus>) -> Self {
        let name = pod.name_any();
        let status = pod.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let is_ready = conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let containers = status.and_then(|status| status.container_statuses.as_ref());
        let runs = policy.and_then(|policy| policy.replicas.iter().find(|replica| replica.pod == name));
        let refuses = policy.and_then(|policy| policy.rejected.iter().find(|rejected| rejected.pod == name));
        Self {
            is_ready,
            restarts: containers.into_iter().flatten().map(|container| container.restart_count).sum(),
            policy: runs.map(|replica| harmless(&replica.revision)),
            refuses: refuses.map(|rejected| harmless(&rejected.reason)),
            name,
        }
    }
}

impl BackendView {
    fn of(name: &str, backend: Option<&ModelBackend>) -> Self {
        let kind = backend.map(|backend| match backend.spec.type_ {
            BackendType::Embedded => "Embedded".to_owned(),
            remote @ (BackendType::OpenAI | BackendType::Anthropic | BackendType::Ollama) => {
                harmless(&format!("{remote:?} {}", backend.spec.url.as_deref().unwrap_or_default()))
            }
        });
        let models = backend.map(|backend| backend.spec.models.iter());
        let public = |model: &codecrucible_crds::Model| harmless(model.alias.as_ref().unwrap_or(&model.name));
        Self { name: name.to_owned(), kind, models: models.into_iter().flatten().map(public).collect() }
    }
}
