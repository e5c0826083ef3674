//! Who may reach the pods, and how from outside the cluster.

use crate::Duration;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who in the cluster may reach the pods, as their NetworkPolicy says, and how the service is reached from outside. The operator's
/// namespace may always reach port 9443; what the pods may reach follows from the backends.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Network {
    /// Namespaces whose pods may call the API (port 8080): those of applications, and of what forwards to it (the ingress
    /// controller's, or the gateway's pods'). All, if it is not given; none, if it is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))
    )]
    pub allowed_namespaces: Option<Vec<String>>,
    /// Namespaces whose pods may read metrics and probes (port 9090). All, if it is not given; none, if it is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))
    )]
    pub monitoring_namespaces: Option<Vec<String>>,
    /// How many proxies stand between clients and the pods, each of which adds to the header `X-Forwarded-For` who asked it: 1 behind an
    /// ingress controller that clients reach directly. With 0, the other end of the connection is the client, for limits and for access
    /// policies. Whoever reaches the pods past the proxies could pretend to be elsewhere, so `allowedNamespaces` must be given, and should name
    /// those of the proxies alone.
    #[schemars(range(min = 0, max = 8))]
    pub trusted_proxy_hops: i32,
    /// How long a stream is silent at most: a number and s or m, 1s to 10m. When its backend says nothing for so long between two events, a comment is
    /// sent, which clients of server-sent events pass over, so that no proxy on the way takes the stream for dead. Without it, none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_heartbeat: Option<Duration>,
    /// Origins whose pages may use the API from a browser (CORS), such as `https://app.example.com`; none without. `*` is all of them, only for profile
    /// `Development`. Pages send an access token like everybody else, and had better not have a client's secret: whoever sees the page has it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(min = 1, max = 253), regex(pattern = r"^([*]|https?://[a-z0-9.-]+(:[0-9]{1,5})?)$"))
    )]
    pub allowed_origins: Vec<String>,
    /// Annotations of the Service, for what forwards to it: some are told there that it speaks TLS, and whom to trust.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub service_annotations: BTreeMap<String, String>,
    /// An Ingress that leads to the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
    /// An HTTPRoute of the Gateway API that leads to the service, with a BackendTLSPolicy where the service speaks TLS. Needs Gateway
    /// API 1.4 or newer; as long as the cluster does not serve both kinds, the service is there without, and `Exposed` says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
}

/// An Ingress. While the service speaks TLS, its controller must be told by annotations, on it or on the Service, which ones
/// depends on the controller.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// The IngressClass; the cluster's default one, if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))]
    pub class_name: Option<String>,
    /// The hosts at which it is reached.
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 1, max = 253), regex(pattern = r"^([*][.])?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))
    )]
    pub hosts: Vec<String>,
    /// The Secret with the certificate that is shown for the hosts, which is none of the service's own; nothing is encrypted towards clients, or the controller's own is
    /// shown, if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))]
    pub tls_secret_name: Option<String>,
    /// Annotations, for its controller and for cert-manager.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,
}

/// An HTTPRoute of the Gateway API.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The Gateways that it is attached to.
    #[schemars(length(min = 1, max = 8))]
    pub gateways: Vec<GatewayReference>,
    /// The hosts at which it is reached; those of the Gateways' listeners, if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 253), regex(pattern = r"^([*][.])?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))
    )]
    pub hostnames: Vec<String>,
}

/// A Gateway.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))]
    pub name: String,
    /// Its namespace; that of this resource, if it is not given. The Gateway must let routes of this one in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// One of its listeners; all, if it is not given, those of plain HTTP too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))]
    pub section_name: Option<String>,
}
