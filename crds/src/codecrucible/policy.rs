//! What becomes of a policy that is new.

use serde::{Deserialize, Serialize};

/// What becomes of the policy that the resource, its backends and its access policies come to, when it is a new one.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Policy {
    /// `Enforce` puts it in force. `Shadow` leaves in force what is, and has the replicas compare each request with the new
    /// one: `status.policy.shadow` and the metric `codecrucible_policy_shadow_comparisons_total` tell wherein it differs. The
    /// very first policy is put in force in any case.
    pub mode: PolicyMode,
}

/// What becomes of a new policy.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
pub enum PolicyMode {
    /// It is put in force.
    #[default]
    Enforce,
    /// It is only compared with the one that is.
    Shadow,
}
