//! `SynthesisClient`: an application's access to a service. It lives with the application.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema, ResourceExt as _};
use serde::{Deserialize, Serialize};

/// An application's access to a service.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "codecrucible.dev",
    version = "v1alpha1",
    kind = "SynthesisClient",
    namespaced,
    shortname = "sc",
    category = "codecrucible-all",
    doc = "An application's access to a CodeCrucible. The operator makes a Secret with all that an OpenAI SDK needs, registers the client with the service, and reports in `status` when every replica knows it. With the resource, access ends.",
    status = "SynthesisClientStatus",
    derive = "PartialEq",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.targetRef.name"),
    printcolumn(name = "Target Namespace", type_ = "string", json_path = ".spec.targetRef.namespace"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secretName"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        priority = 1
    )
)]
#[cfg_attr(test, kube(cel))]
#[allow(clippy::duplicated_attributes, reason = "columns have a type each")]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.targetRef == oldSelf.targetRef").message("targetRef cannot be changed; make another SynthesisClient for another service"))]
#[x_kube(validation = Rule::new("self.credentials == oldSelf.credentials").message("credentials cannot be changed; make another SynthesisClient for another Secret"))]
pub struct SynthesisClientSpec {
    /// The service. Its `spec.clients.allowedNamespaces` must name this resource's namespace, unless it is its own.
    pub target_ref: TargetReference,
    /// Where the credentials are written.
    #[serde(default)]
    pub credentials: Credentials,
}

/// A `CodeCrucible`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetReference {
    /// Its name.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Its namespace; that of this resource, if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
}

/// Where the credentials are written.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Credentials {
    /// Name of the Secret with the keys `client-id`, `client-secret`, `token-url`, `base-url` and, if clients need it, `ca.crt`; that of this resource, if
    /// it is not given. One that exists already and is not this resource's is left alone. Whoever deletes the Secret gets
    /// another one, with another secret; the old one is good no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))]
    pub secret_name: Option<String>,
}

impl SynthesisClient {
    /// By which the client names itself: its namespace, a dot and its name. A namespace has no dot, so no two are the same.
    pub fn id(&self) -> String {
        format!("{}.{}", self.namespace().unwrap_or_default(), self.name_any())
    }

    /// Namespace and name of the service.
    pub fn target(&self) -> (Option<String>, String) {
        let TargetReference { name, namespace } = &self.spec.target_ref;
        (namespace.clone().or_else(|| self.namespace()), name.clone())
    }

    /// Name of the Secret with the credentials.
    pub fn secret_name(&self) -> String {
        self.spec.credentials.secret_name.clone().unwrap_or_else(|| self.name_any())
    }
}

/// What the operator saw.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SynthesisClientStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`: the service exists and lets this namespace in. `Ready`: every ready replica said that it knows the client.
    /// `Reconciling` and `Stalled`: what pipelines wait for, and what they fail at.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// By which the client names itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The Secret with the credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// SHA-256 of the client's secret, by which the service knows it; not there while it is not to be let in. The secret has
    /// 256 random bits, so this tells nothing about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_sha256: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::CustomResourceExt as _;
    use serde_json::json;

    #[test]
    fn the_smallest_client_names_a_service() {
        let spec: SynthesisClientSpec =
            serde_json::from_value(json!({"targetRef": {"name": "demo"}})).unwrap();
        assert_eq!(spec.credentials, Credentials::default());
        let schema = serde_json::to_value(SynthesisClient::crd()).unwrap();
        let spec = &schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        assert_eq!(spec["required"], json!(["targetRef"]));
    }
}
