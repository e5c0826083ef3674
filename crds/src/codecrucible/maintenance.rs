//! Holding the operator back.

use serde::{Deserialize, Serialize};

/// Holding the operator back.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Maintenance {
    /// The operator observes and reports, but writes nothing except `status`: no policy, credential, certificate or rollback
    /// reaches the pods.
    pub paused: bool,
    /// No replica runs, whatever `replicas` and `autoscaling` say; keys, policy and addresses stay.
    pub hibernate: bool,
}
