//! How much clients may ask for.

use crate::Duration;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How much clients may ask for within a time. All that match a request must admit it, so another one can only be stricter: to give some namespaces
/// more, except them from the one for all, and give them their own. Clients are told how they stand with it in the headers `RateLimit-Policy` and `RateLimit`;
/// who is refused gets 429 with `Retry-After`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.burst) || self.algorithm == 'TokenBucket'").message("burst is only for algorithm TokenBucket; leave it out"))]
#[x_kube(validation = Rule::new("self.unit != 'ConcurrentRequests' || (self.algorithm == 'TokenBucket' && self.window == '1m' && !has(self.burst))").message("algorithm, window and burst must be left out for unit ConcurrentRequests, which has none of them"))]
#[x_kube(validation = Rule::new("!has(self.match) || !has(self.match.routes) || !('Token' in self.match.routes) || self.per in ['Address', 'Service']").message("per must be Address or Service for the route Token, where nobody is known yet"))]
#[x_kube(validation = Rule::new("!has(self.match) || !has(self.match.routes) || !('Token' in self.match.routes) || (self.unit == 'Requests' && !has(self.match.models) && !has(self.match.namespaces) && !has(self.match.exceptNamespaces))").message("unit must be Requests, and match.models, match.namespaces and match.exceptNamespaces be left out, for the route Token"))]
pub struct RateLimit {
    /// Unique name; clients are told it.
    #[schemars(length(min = 1, max = 40), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What it applies to: everything but asking for access tokens, if it is not given.
    #[serde(default, rename = "match")]
    pub matching: LimitMatch,
    /// Whose requests are counted together: those of a `Client`, of all clients of a `Namespace`, from an `Address` (of IPv6, a network of
    /// 64 bits; behind proxies, see `network.trustedProxyHops`), or all of the `Service`.
    #[serde(default)]
    pub per: LimitSubject,
    /// What is counted: `Requests`, or `Tokens` that models read and write. Tokens are taken by estimate when a request comes (one for four
    /// bytes, and as many as it lets a model write, or 1024, but no more than a quarter of all there is at once), and corrected when its answer
    /// has ended, by what the backend says. What was used beyond a limit is owed, up to eight times the limit, and paid off at its rate. Of
    /// `ConcurrentRequests` there are never more under way than `limit`; `algorithm`, `window` and `burst` say nothing of them.
    #[serde(default)]
    pub unit: LimitUnit,
    /// How it is counted: a `TokenBucket` of the size of `burst` that fills at the rate of `limit`, so that within one window up to both may be
    /// had; a `SlidingWindow`, for which what was
    /// counted in the window before is taken as spread evenly; or a `FixedWindow`, at whose end all is there again.
    #[serde(default)]
    pub algorithm: LimitAlgorithm,
    /// How many within the window.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub limit: i64,
    /// The window: 1s to 30d. Fixed and sliding ones begin at multiples of their length since 1970, UTC.
    #[serde(default = "one_minute")]
    pub window: Duration,
    /// How many at once, for a `TokenBucket`; as many as `limit`, if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub burst: Option<i64>,
    /// `Shadow` refuses nothing, and counts in `codecrucible_limit_decisions_total` what it would refuse.
    #[serde(default)]
    pub mode: LimitMode,
    /// What becomes of requests while `redis` does not answer: each replica counts its part by itself (`Local`), they are refused with 503
    /// (`Deny`), or admitted (`Allow`). Where replicas count by themselves, also without `redis`, the limit is divided among as many as
    /// there may be, and must be no smaller.
    #[serde(default)]
    pub on_store_failure: OnStoreFailure,
}

/// What a limit applies to.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct LimitMatch {
    /// Parts of the API; all but `Token` if none is named. `ChatCompletions` are chats in all ways: `Messages`, Anthropic's, and `Responses`, OpenAI's
    /// newer one, too; these by themselves are those alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub routes: Vec<LimitedRoute>,
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
    /// Namespaces of clients to which it does not apply: those that have limits of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))
    )]
    pub except_namespaces: Vec<String>,
}

/// A part of the API: `/v1/chat/completions`, `/v1/completions`, `/v1/responses`, `/v1/embeddings`, `/v1/messages`, `/v1/synthesis`,
/// `/v1/models`, and `/oauth/token`.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum LimitedRoute {
    ChatCompletions,
    Completions,
    Responses,
    Embeddings,
    Messages,
    Synthesis,
    Models,
    Token,
}

/// Whose requests are counted together.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum LimitSubject {
    #[default]
    Client,
    Namespace,
    Address,
    Service,
}

/// What is counted.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum LimitUnit {
    #[default]
    Requests,
    Tokens,
    ConcurrentRequests,
}

/// How it is counted.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum LimitAlgorithm {
    #[default]
    TokenBucket,
    SlidingWindow,
    FixedWindow,
}

/// Whether it refuses.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum LimitMode {
    #[default]
    Enforce,
    Shadow,
}

/// What becomes of requests while Redis does not answer.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum OnStoreFailure {
    #[default]
    Local,
    Deny,
    Allow,
}

fn one_minute() -> Duration {
    Duration::literal("1m")
}
