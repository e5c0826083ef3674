//! Replicas that go wrong by themselves.

use crate::duration::Duration;
use serde::{Deserialize, Serialize};

/// What becomes of a replica that serves and says that it does not run what it was given, while another one says that it
/// does: it is evicted, within the disruption budget, and a new one comes in its place. One that says nothing stays.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Remediation {
    /// For how long it must have been so, `10s` to `1d`.
    pub after: Duration,
    /// Most replicas that are evicted within an hour; 0 if none is to be.
    #[schemars(range(min = 0, max = 60))]
    pub max_per_hour: i32,
}

impl Default for Remediation {
    fn default() -> Self {
        Self { after: Duration::literal("5m"), max_per_hour: 3 }
    }
}
