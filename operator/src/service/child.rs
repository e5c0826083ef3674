//! The objects that make up a service: which there are, in the order of their making, and which a resource needs. What a
//! pod mounts exists before the pod.

use codecrucible_crds::{CodeCrucible, TlsMode, names};
use kube::ResourceExt as _;
use kube::api::ApiResource;
use kube::core::GroupVersionKind;

/// One of a service's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Child {
    ServiceAccount,
    SigningKeys,
    /// Of the service itself.
    OwnClient,
    /// Of applications.
    RegisteredClients,
    BackendCredentials,
    Authority,
    Certificate,
    Policy,
    Service,
    NetworkPolicy,
    DisruptionBudget,
    /// What cert-manager is to issue.
    IssuedCertificate,
    Deployment,
    Autoscaler,
}

impl Child {
    /// All of them, in the order of their making.
    pub(crate) const ALL: [Self; 14] = [
        Self::ServiceAccount,
        Self::SigningKeys,
        Self::OwnClient,
        Self::RegisteredClients,
        Self::BackendCredentials,
        Self::Authority,
        Self::Certificate,
        Self::Policy,
        Self::Service,
        Self::NetworkPolicy,
        Self::DisruptionBudget,
        Self::IssuedCertificate,
        Self::Deployment,
        Self::Autoscaler,
    ];

    /// The kind.
    pub(crate) fn kind(self) -> &'static str {
        self.description().api.2
    }

    /// The API that serves it.
    pub(crate) fn api_resource(self) -> ApiResource {
        let (group, version, kind) = self.description().api;
        ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
    }

    /// Its name for a resource.
    pub(crate) fn name(self, resource: &CodeCrucible) -> String {
        (self.description().name)(&resource.name_any())
    }

    /// Whether a resource needs it. One that does not may have an object of somebody else in its place.
    pub(crate) fn is_wanted(self, resource: &CodeCrucible) -> bool {
        let spec = &resource.spec;
        match self {
            Self::Autoscaler => spec.autoscaling.is_some() && !spec.maintenance.hibernate,
            Self::IssuedCertificate => spec.tls.mode == TlsMode::CertManager,
            _ => true,
        }
    }

    /// Whether it holds something random that must never be written twice.
    pub(crate) fn is_generated(self) -> bool {
        matches!(self, Self::SigningKeys | Self::OwnClient | Self::Authority)
    }

    fn description(self) -> Description {
        let described = |api, name| Description { api, name };
        match self {
            Self::ServiceAccount => described(("", "v1", "ServiceAccount"), names::workload),
            Self::SigningKeys => described(SECRET, names::signing_keys_secret),
            Self::OwnClient => described(SECRET, names::client_secret),
            Self::RegisteredClients => described(SECRET, names::clients_secret),
            Self::BackendCredentials => described(SECRET, names::backend_credentials_secret),
            Self::Authority => described(SECRET, names::authority_secret),
            Self::Certificate => described(SECRET, names::certificate_secret),
            Self::Policy => described(("", "v1", "ConfigMap"), names::policy_config_map),
            Self::Service => described(("", "v1", "Service"), names::workload),
            Self::NetworkPolicy => described(("networking.k8s.io", "v1", "NetworkPolicy"), names::workload),
            Self::DisruptionBudget => described(("policy", "v1", "PodDisruptionBudget"), names::workload),
            Self::IssuedCertificate => described(CERTIFICATE, names::workload),
            Self::Deployment => described(("apps", "v1", "Deployment"), names::workload),
            Self::Autoscaler => described(("autoscaling", "v2", "HorizontalPodAutoscaler"), names::workload),
        }
    }
}

/// What there is to say of a kind of child.
struct Description {
    /// Group, version and kind.
    api: (&'static str, &'static str, &'static str),
    /// Its name for a resource of a name.
    name: fn(&str) -> String,
}

const CERTIFICATE: (&str, &str, &str) = (names::CERT_MANAGER_GROUP, "v1", "Certificate");
const SECRET: (&str, &str, &str) = ("", "v1", "Secret");
