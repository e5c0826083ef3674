//! The objects that make up a service: which there are, in the order of their making, and which a resource needs. What a
//! pod mounts exists before the pod.

use codecrucible_crds::{CodeCrucible, names};
use kube::ResourceExt as _;
use kube::api::ApiResource;
use kube::core::GroupVersionKind;

/// One of a service's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Child {
    ServiceAccount,
    SigningKeys,
    Client,
    BackendCredentials,
    Authority,
    Certificate,
    Policy,
    Service,
    NetworkPolicy,
    DisruptionBudget,
    Deployment,
    Autoscaler,
}

impl Child {
    /// All of them, in the order of their making.
    pub(crate) const ALL: [Self; 12] = [
        Self::ServiceAccount,
        Self::SigningKeys,
        Self::Client,
        Self::BackendCredentials,
        Self::Authority,
        Self::Certificate,
        Self::Policy,
        Self::Service,
        Self::NetworkPolicy,
        Self::DisruptionBudget,
        Self::Deployment,
        Self::Autoscaler,
    ];

    /// The kind.
    pub(crate) fn kind(self) -> &'static str {
        self.group_version_kind().2
    }

    /// The API that serves it.
    pub(crate) fn api_resource(self) -> ApiResource {
        let (group, version, kind) = self.group_version_kind();
        ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
    }

    /// Its name for a resource.
    pub(crate) fn name(self, resource: &CodeCrucible) -> String {
        let resource = resource.name_any();
        match self {
            Self::SigningKeys => names::signing_keys_secret(&resource),
            Self::Client => names::client_secret(&resource),
            Self::BackendCredentials => names::backend_credentials_secret(&resource),
            Self::Authority => names::authority_secret(&resource),
            Self::Certificate => names::certificate_secret(&resource),
            Self::Policy => names::policy_config_map(&resource),
            Self::ServiceAccount
            | Self::Service
            | Self::NetworkPolicy
            | Self::DisruptionBudget
            | Self::Deployment
            | Self::Autoscaler => names::workload(&resource),
        }
    }

    /// Whether a resource needs it. One that does not may have an object of somebody else in its place.
    pub(crate) fn is_wanted(self, resource: &CodeCrucible) -> bool {
        let spec = &resource.spec;
        self != Self::Autoscaler || (spec.autoscaling.is_some() && !spec.maintenance.hibernate)
    }

    /// Whether it holds something random that must never be written twice.
    pub(crate) fn is_generated(self) -> bool {
        matches!(self, Self::SigningKeys | Self::Client | Self::Authority)
    }

    fn group_version_kind(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::ServiceAccount => ("", "v1", "ServiceAccount"),
            Self::SigningKeys
            | Self::Client
            | Self::BackendCredentials
            | Self::Authority
            | Self::Certificate => ("", "v1", "Secret"),
            Self::Policy => ("", "v1", "ConfigMap"),
            Self::Service => ("", "v1", "Service"),
            Self::NetworkPolicy => ("networking.k8s.io", "v1", "NetworkPolicy"),
            Self::DisruptionBudget => ("policy", "v1", "PodDisruptionBudget"),
            Self::Deployment => ("apps", "v1", "Deployment"),
            Self::Autoscaler => ("autoscaling", "v2", "HorizontalPodAutoscaler"),
        }
    }
}
