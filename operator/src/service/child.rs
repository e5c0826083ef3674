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
    /// The pods that are tried out.
    Canary,
    Autoscaler,
    /// What forwards to the service trusts.
    PublicAuthority,
    Ingress,
    /// How Gateways reach a service that speaks TLS.
    RouteTrust,
    /// From Gateways of the Gateway API.
    Route,
}

impl Child {
    /// All of them, in the order of their making.
    pub(crate) const ALL: [Self; 19] = [
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
        Self::Canary,
        Self::Autoscaler,
        Self::PublicAuthority,
        Self::Ingress,
        Self::RouteTrust,
        Self::Route,
    ];

    /// Those by which others reach the service. It is there without them: what the API server or the cluster has against one stands
    /// in the way of nothing else.
    pub(crate) const WAYS: [Self; 4] = [Self::PublicAuthority, Self::Ingress, Self::RouteTrust, Self::Route];

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
            Self::Canary => spec.rollout.canary.is_some(),
            Self::Ingress => spec.network.ingress.is_some(),
            Self::Route => spec.network.route.is_some(),
            Self::PublicAuthority | Self::RouteTrust => {
                spec.network.route.is_some() && spec.tls.mode != TlsMode::Disabled
            }
            _ => true,
        }
    }

    /// Whether it goes once it is no longer wanted. What is in nobody's way goes with the service: to delete it, the operator would
    /// have to be let delete every object of its kind.
    pub(crate) fn is_removed(self) -> bool {
        self != Self::PublicAuthority
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
            Self::Deployment => described(DEPLOYMENT, names::workload),
            Self::Canary => described(DEPLOYMENT, names::canary),
            Self::PublicAuthority => described(("", "v1", "ConfigMap"), names::public_authority),
            Self::Ingress => described(("networking.k8s.io", "v1", "Ingress"), names::workload),
            Self::Route => described((names::GATEWAY_GROUP, "v1", "HTTPRoute"), names::workload),
            Self::RouteTrust => described((names::GATEWAY_GROUP, "v1", "BackendTLSPolicy"), names::workload),
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
const DEPLOYMENT: (&str, &str, &str) = ("apps", "v1", "Deployment");
const SECRET: (&str, &str, &str) = ("", "v1", "Secret");
