//! Which answers are given again to the same request.

use crate::policy::is_default;
use crate::store::{Store, check_scope};
use crate::validate::{Checked, check, name};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Most rules of one policy.
const MAX_RULES: usize = 32;
/// Most models or namespaces that one rule names.
const MAX_NAMED: usize = 64;
/// Least and most room for answers, bytes (1 MiB, 64 GiB).
const MEMORY_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=64 << 30;
/// Shortest and longest time for which an answer is good, milliseconds (1 s, 30 days).
const TTL_MS: std::ops::RangeInclusive<u64> = 1_000..=2_592_000_000;

/// Which answers are given again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cache {
    /// Room in the memory of each replica, bytes.
    pub memory_bytes: u64,
    /// Where replicas find what others were answered, if anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedAnswers>,
    /// The first that applies to a request decides; to one to which none applies, nothing is given again.
    pub rules: Vec<CacheRule>,
    /// The namespace of the service's own client.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// A store of answers that replicas share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SharedAnswers {
    /// Where it is.
    pub store: Store,
    /// What tells the service's answers from those of others in the store.
    pub scope: String,
}

/// Which answers are given again, to whom, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CacheRule {
    /// Unique name.
    pub name: String,
    /// What it applies to; every route if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<CachedRoute>,
    /// The models that it applies to, by the names that clients use; all if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// The namespaces to whose clients it applies; all if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Which requests it applies to.
    pub requests: CachedRequests,
    /// Who is given what another one was answered.
    pub shared_by: SharedBy,
    /// For how long, milliseconds.
    pub ttl_ms: u64,
    /// With a number that it never had, what was answered before is not given any more.
    #[serde(default, skip_serializing_if = "is_default")]
    pub epoch: u32,
}

/// A part of the API whose answers can be given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum CachedRoute {
    ChatCompletions,
    Completions,
    Responses,
    Embeddings,
    Messages,
}

/// Which requests are answered alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CachedRequests {
    /// Those that ask for the same answer each time: embeddings, and what has a temperature of 0 or a seed.
    Deterministic,
    /// All.
    All,
}

/// Who is given what another one was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SharedBy {
    /// Only the client itself.
    Client,
    /// All clients of its namespace.
    Namespace,
}

impl Cache {
    /// Checks each rule; `models` are those that clients may name.
    pub(crate) fn validate(&self, models: &HashSet<&str>) -> Checked {
        let Self { memory_bytes, shared, rules, namespace: _ } = self;
        check(MEMORY_BYTES.contains(memory_bytes), "cache.memoryBytes", || {
            format!("{memory_bytes} is outside {} to {} bytes", MEMORY_BYTES.start(), MEMORY_BYTES.end())
        })?;
        if let Some(shared) = shared {
            shared.store.validate().map_err(|invalid| invalid.below("cache.shared"))?;
            check_scope("cache.shared.scope", &shared.scope)?;
        }
        check((1..=MAX_RULES).contains(&rules.len()), "cache.rules", || {
            format!("has {} entries, and must have 1 to {MAX_RULES}", rules.len())
        })?;
        let mut names = HashSet::new();
        for (index, rule) in rules.iter().enumerate() {
            let path = format!("cache.rules[{index}]");
            rule.validate(models).map_err(|invalid| invalid.below(&path))?;
            check(names.insert(&rule.name), &format!("{path}.name"), || {
                format!("{:?} occurs twice", rule.name)
            })?;
        }
        Ok(())
    }
}

impl CacheRule {
    fn validate(&self, known: &HashSet<&str>) -> Checked {
        name("name", &self.name)?;
        for (path, named) in [("models", &self.models), ("namespaces", &self.namespaces)] {
            check(named.len() <= MAX_NAMED, path, || {
                format!("has {} entries, more than {MAX_NAMED}", named.len())
            })?;
            named.iter().enumerate().try_for_each(|(index, one)| name(&format!("{path}[{index}]"), one))?;
        }
        for (index, model) in self.models.iter().enumerate() {
            check(known.contains(model.as_str()), &format!("models[{index}]"), || {
                format!("no backend has a model {model:?}")
            })?;
        }
        check(TTL_MS.contains(&self.ttl_ms), "ttlMs", || {
            format!("{} is outside {} to {} milliseconds", self.ttl_ms, TTL_MS.start(), TTL_MS.end())
        })
    }
}
