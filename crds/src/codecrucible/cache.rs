//! Which answers are given again to the same request.

use super::Redis;
use crate::Duration;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Answers that are given again to the same request.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Cache {
    /// Room for answers in the memory of each replica: 1Mi to 64Gi, and at most half of `resources.limits.memory`. Of what is too much, that goes
    /// which is asked for least. Streams that are being kept take up to a quarter more.
    #[serde(default = "default_memory")]
    pub memory: Quantity,
    /// Room for answers on the disk of each replica's node, beside memory: 64Mi to 1Ti, and at least 128Mi less than
    /// `resources.limits.ephemeral-storage`, if that is given. A 16th of it is needed in memory, which with `memory` is at most half of
    /// `resources.limits.memory`. They outlive the program, not the pod. To change it replaces the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Quantity>,
    /// Where replicas find what others were answered, and new ones what was before them. Answers lie there as they are, each for its time. A
    /// Redis of its own, with `maxmemory` and an eviction such as `allkeys-lru`: that of `spec.redis` must forget nothing. While it does not
    /// answer, each replica does without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("!self.cluster || !self.url.matches('^rediss?://[^/]+/[0-9]+$')").message("cache.redis.url must not name a database for a cluster, which has none"))]
    pub redis: Option<Redis>,
    /// The first that matches a request decides, `requests` included; where none does, nothing is given again. Only whole answers are, without an
    /// error, of at most 4 MiB, of backends of the first priority; of streams those with an end mark, which Responses have not. Clients are told in
    /// `Cache-Status` and `Age`, and may ask for other things in `Cache-Control`: `no-store`, `no-cache`, `max-age`, `only-if-cached`.
    #[schemars(length(min = 1, max = 32))]
    pub rules: Vec<CacheRule>,
    /// What each replica asks before anybody does: when it begins, and whenever policy, clients or credentials are replaced, one after the other, unless the
    /// answer is kept. What fails is asked again five times, with pauses of about 5s to 80s. That its
    /// `ttl` is over is no reason to ask again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub warm_up: Vec<WarmUp>,
}

/// A question that each replica asks before anybody does.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WarmUp {
    /// As whom: `NAMESPACE.NAME` of a SynthesisClient, or this resource's name for the service's own client. Its access and limits hold, from the address
    /// 127.0.0.1, and the answer is given to whomever its rule's `sharedBy` says.
    #[schemars(length(min = 1, max = 253))]
    pub client: String,
    /// Which part of the API.
    pub route: CachedRoute,
    /// The request's body, written as clients write it, byte for byte within its fields: one that is written otherwise is another question. It names a model,
    /// not `auto`. It is in a ConfigMap, so no place for secrets.
    #[schemars(length(min = 2, max = 8192))]
    pub request: String,
    /// Of `Messages`, the headers `anthropic-version` and `anthropic-beta` as clients send them: with others it is another question.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 2))]
    pub headers: BTreeMap<String, String>,
}

/// Which answers are given again, to whom, and for how long.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CacheRule {
    /// Unique name; metrics tell it.
    #[schemars(length(min = 1, max = 40), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What it applies to: everything, if it is not given.
    #[serde(default, rename = "match")]
    pub matching: CacheMatch,
    /// Which requests: `Deterministic` ones, which ask for the same answer each time (embeddings, and what has a `temperature` of 0 or a `seed`), or
    /// `All`.
    #[serde(default)]
    pub requests: CachedRequests,
    /// Who is given what another one was answered: nobody but the `Client` itself, or all clients of its `Namespace`. Nobody else ever is.
    #[serde(default)]
    pub shared_by: SharedBy,
    /// For how long: 1s to 30d.
    #[serde(default = "one_hour")]
    pub ttl: Duration,
    /// With a number that the rule never had, nothing that was answered before is given any more.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub epoch: i32,
}

/// What a rule of the cache applies to.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct CacheMatch {
    /// Parts of the API; all of these if none is named. `ChatCompletions` are chats in both ways, OpenAI's and Anthropic's; `Messages` are those in
    /// Anthropic's alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub routes: Vec<CachedRoute>,
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

/// A part of the API whose answers can be given again.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum CachedRoute {
    ChatCompletions,
    Completions,
    Responses,
    Embeddings,
    Messages,
}

/// Which requests are answered alike.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum CachedRequests {
    #[default]
    Deterministic,
    All,
}

/// Who is given what another one was answered.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum SharedBy {
    #[default]
    Client,
    Namespace,
}

fn default_memory() -> Quantity {
    Quantity("64Mi".to_owned())
}

fn one_hour() -> Duration {
    Duration::literal("1h")
}
