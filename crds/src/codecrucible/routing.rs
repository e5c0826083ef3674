//! Which backends are asked, and what becomes of requests whose backend fails.

use serde::{Deserialize, Serialize};

/// Which backends are asked, and what becomes of requests whose backend fails.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Routing {
    /// How much more than clients ask for the service may ask of backends, in percent of its requests: attempts after one that failed
    /// before it began to answer. Each replica has ten of them saved up, and one more each second. 0 is none at all.
    #[schemars(range(min = 0, max = 100))]
    pub retry_budget_percent: i32,
    /// Which of several backends of one model and priority a prompt is asked of: with `None` the one that has less to do and answers sooner, with
    /// `PromptPrefix` always the same one for all that begin alike, so that what it has computed before is there: for servers such as vLLM that keep
    /// that. A chat begins with all until the first message of the user, another prompt with its first 1024 bytes. A backend that has a quarter more
    /// to do than its share is passed over.
    pub affinity: Affinity,
}

/// Which of several equal backends a prompt is asked of.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Affinity {
    #[default]
    None,
    PromptPrefix,
}

impl Default for Routing {
    fn default() -> Self {
        Self { retry_budget_percent: 20, affinity: Affinity::None }
    }
}
