//! What becomes of requests whose backend fails.

use serde::{Deserialize, Serialize};

/// What becomes of requests whose backend fails.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Routing {
    /// How much more than clients ask for the service may ask of backends, in percent of its requests: attempts after one that failed
    /// before it began to answer. Each replica has ten of them saved up, and one more each second. 0 is none at all.
    #[schemars(range(min = 0, max = 100))]
    pub retry_budget_percent: i32,
}

impl Default for Routing {
    fn default() -> Self {
        Self { retry_budget_percent: 20 }
    }
}
