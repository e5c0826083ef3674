//! Who may reach the pods.

use serde::{Deserialize, Serialize};

/// Who in the cluster may reach the pods, as their NetworkPolicy says. The operator's namespace may always reach port 9443;
/// what the pods may reach follows from the backends.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Network {
    /// Namespaces whose pods may call the API (port 8080): those of applications and of the ingress controller. All, if it
    /// is not given; none, if it is empty.
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
}
