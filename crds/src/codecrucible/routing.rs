//! Which backends are asked, and what becomes of requests whose backend fails.

use crate::Duration;
use serde::{Deserialize, Serialize};

/// Which backends are asked, and what becomes of requests whose backend fails.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Routing {
    /// How much more than clients ask for the service may ask of backends, in percent of its requests: attempts after one that failed
    /// before it began to answer, those of `hedgeAfter`, and those after an answer that fell short (`automatic`). Each replica has ten of them saved up, and one more each second. 0 is none at all.
    #[schemars(range(min = 0, max = 100))]
    pub retry_budget_percent: i32,
    /// Which of several backends of one model and priority a prompt is asked of: with `None` the one that has less to do and answers sooner, with
    /// `PromptPrefix` always the same one for all that begin alike, so that what it has computed before is there: for servers such as vLLM that keep
    /// that. A chat begins with all until the first message of the user, another prompt with its first 1024 bytes. A backend that has a quarter more
    /// to do than its share is passed over.
    pub affinity: Affinity,
    /// After so long without a first byte of a stream another backend of the same model and priority is asked too, and the one that begins to answer first
    /// answers: a number and ms, s or m, 10ms to 10m; longer than nearly all streams take to begin. Once for a request at most, and within the retry
    /// budget; what the other one used is not counted. Whole answers have no sign of life before they are there, and are not asked for twice. Without
    /// it, never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hedge_after: Option<Duration>,
    /// Of several backends of one model and priority, at most this share is left alone for failing (see `circuitBreaker` of `ModelBackend`), percent. Where
    /// more fail, all are asked, so that the few that work are not sent what was for all. One that is alone is left alone.
    #[schemars(range(min = 0, max = 100))]
    pub max_resting_percent: i32,
    /// A name that clients may ask for in place of a model's, in chats and messages: the service chooses one by what kind of work it is and how hard. The
    /// complexity of a request, 0 to 100, is the sum of: 5 for each time that its body is twice as long again as 64 tokens of four bytes (at most 35), 1 for
    /// each message after the first (10), 15 for tools, 8 for each word in the user's last message that tells of hard work (40), and 30 more or less where
    /// the client says how much effort it wants. Below `fastBelowPercent` a model of tier `Fast` is asked, above `qualityAbovePercent` one of `Quality`;
    /// between, a fast one, and then one of quality if the answer falls short: if it is empty, or cut without the client having set a limit, or its code
    /// does not parse, or is missing where it was asked for. Streams are not judged; the middle of the two decides. Access policies, limits, urgencies
    /// and the cache go by the model that is chosen, and a limit also by the one that may be asked after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automatic: Option<Automatic>,
    /// How urgent requests are that wait for a backend to have room (see `concurrency` of `ModelBackend`): the first that matches a request decides;
    /// where none does, it is `Normal`. A client may say that a request is less urgent, in the header `x-codecrucible-urgency`: `high`, `normal` or `low`.
    #[schemars(length(max = 32))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urgencies: Vec<UrgencyRule>,
}

/// A name that leads to the model that suits a request.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Automatic {
    /// The name; no model may have it.
    #[schemars(length(min = 1, max = 253))]
    pub model: String,
    /// What is less complex is easy.
    #[schemars(range(min = 0, max = 100))]
    pub fast_below_percent: i32,
    /// What is more complex is hard.
    #[schemars(range(min = 0, max = 100))]
    pub quality_above_percent: i32,
}

impl Default for Automatic {
    fn default() -> Self {
        Self { model: "auto".into(), fast_below_percent: 30, quality_above_percent: 70 }
    }
}

/// How urgent some requests are.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UrgencyRule {
    /// So urgent.
    pub urgency: Urgency,
    /// What it applies to: everything, if it is not given.
    #[serde(default, rename = "match")]
    pub matching: UrgencyMatch,
}

/// What a rule of urgency applies to.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct UrgencyMatch {
    /// Models, by the names that clients use; all if none is named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub models: Vec<String>,
    /// Namespaces of clients; all if none is named. The service's own client is of its namespace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))
    )]
    pub namespaces: Vec<String>,
}

/// How urgent a request is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Urgency {
    High,
    Normal,
    Low,
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
        Self {
            retry_budget_percent: 20,
            affinity: Affinity::None,
            hedge_after: None,
            max_resting_percent: 100,
            automatic: None,
            urgencies: Vec::new(),
        }
    }
}
