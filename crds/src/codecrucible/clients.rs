//! Which applications may have a client of their own.

use serde::{Deserialize, Serialize};

/// Who may have a `SynthesisClient` of this service. Where `network.allowedNamespaces` is given, it must name these
/// namespaces too, or their pods do not reach it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Clients {
    /// Namespaces whose `SynthesisClient`s may name this service, beside its own.
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))
    )]
    pub allowed_namespaces: Vec<String>,
}
