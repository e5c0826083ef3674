//! How new pods come in place of old ones.

use crate::duration::Duration;
use serde::{Deserialize, Serialize};

/// How new pods come in place of old ones: one more at a time, and none fewer.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Rollout {
    /// A rollout without progress for so long has failed; so has one whose ready replicas have not applied the
    /// policy by then. `10s` to `1d`.
    pub progress_deadline: Duration,
    /// Whether a rollout that failed is taken back to the last pods that ran well, until this resource asks for
    /// other ones.
    pub automatic_rollback: bool,
}

impl Default for Rollout {
    fn default() -> Self {
        Self { progress_deadline: Duration::literal("10m"), automatic_rollback: true }
    }
}
