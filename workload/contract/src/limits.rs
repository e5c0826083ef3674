//! How much clients may ask for.

use crate::store::check_scope;
use crate::validate::{Checked, check, name};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Most limits of one policy.
pub const MAX_LIMITS: usize = 32;
/// Largest limit and burst. Counters count in milliseconds for up to an hour and in seconds beyond, so what one can come to, with what is owed, is a
/// whole number of 53 bits: a store that counts in floating point counts exactly.
pub const MAX_LIMIT: u64 = 100_000_000;
/// How much may be owed for what was used beyond a limit, as a multiple of it.
pub const MOST_OWED: u64 = 8;
/// Shortest window, milliseconds.
const MIN_WINDOW_MS: u64 = 1_000;
/// Longest window, milliseconds (30 days).
pub const MAX_WINDOW_MS: u64 = 2_592_000_000;
/// Most models or namespaces that one limit names.
const MAX_NAMED: usize = 64;
/// Most replicas among which a limit is divided.
const MAX_SHARES: u16 = 1_000;
/// Longest name, bytes.
const MAX_LIMIT_NAME_BYTES: usize = 40;

/// How much clients may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// All that apply to a request must admit it.
    pub rules: Vec<Limit>,
    /// Among how many replicas each limit is divided while they cannot count together, so that they do not multiply it.
    pub shares: u16,
    /// The namespace of the service's own client.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// What tells the service from all others that count in the same store; its issuer, if there is nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rules: Vec::new(), shares: 1, namespace: String::new(), scope: String::new() }
    }
}

/// How much may be asked for within a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limit {
    /// Unique name; clients are told it.
    pub name: String,
    /// What it applies to; every route but that for tokens if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<LimitedRoute>,
    /// The models that it applies to, by the names that clients use; all if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// The namespaces to whose clients it applies; all if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// The namespaces to whose clients it does not apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except_namespaces: Vec<String>,
    /// Whose requests are counted together.
    pub per: Subject,
    /// What is counted.
    pub unit: Unit,
    /// How it is counted.
    pub algorithm: Algorithm,
    /// How many of the unit within the window.
    pub limit: u64,
    /// The window, milliseconds.
    pub window_ms: u64,
    /// How many at once, for a bucket; the limit for windows.
    pub burst: u64,
    /// Whether it only tells what it would refuse.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_shadow: bool,
    /// What becomes of requests while the store does not answer.
    pub without_store: WithoutStore,
}

/// A part of the API, as far as limits are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum LimitedRoute {
    ChatCompletions,
    Completions,
    Responses,
    Embeddings,
    Messages,
    Synthesis,
    Models,
    /// Asking for an access token: there is no client yet.
    Token,
}

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Subject {
    /// Those of one client.
    Client,
    /// Those of all clients of one namespace.
    Namespace,
    /// Those from one address.
    Address,
    /// All.
    Service,
}

impl Subject {
    /// Whether it is only known of who has a token.
    pub const fn needs_client(self) -> bool {
        matches!(self, Self::Client | Self::Namespace)
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unit {
    /// Requests.
    Requests,
    /// Tokens of models, read and written: estimated when the request comes, corrected when the answer has ended.
    Tokens,
    /// Requests that are under way at once; window, algorithm and burst say nothing.
    ConcurrentRequests,
}

/// How it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Algorithm {
    /// A bucket of the burst's size that fills at the limit's rate.
    TokenBucket,
    /// The last window, of which the part before the current one is taken from the count of the one before.
    SlidingWindow,
    /// Windows one after the other, from 1970 on.
    FixedWindow,
}

/// What becomes of requests while the store does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WithoutStore {
    /// Each replica counts its share by itself.
    Local,
    /// They are refused.
    Deny,
    /// They are admitted.
    Allow,
}

impl Limits {
    /// Checks each limit; `has_store` says whether there is anything to count together in, and `models` are those that clients may name.
    pub(crate) fn validate(&self, has_store: bool, models: &HashSet<&str>) -> Checked {
        let Self { rules, shares, namespace: _, scope } = self;
        check(rules.len() <= MAX_LIMITS, "limits.rules", || {
            format!("has {} entries, more than {MAX_LIMITS}", rules.len())
        })?;
        check((1..=MAX_SHARES).contains(shares), "limits.shares", || {
            format!("{shares} is outside 1 to {MAX_SHARES}")
        })?;
        check_scope("limits.scope", scope)?;
        let mut names = HashSet::new();
        for (index, rule) in rules.iter().enumerate() {
            let path = format!("limits.rules[{index}]");
            rule.validate().map_err(|invalid| invalid.below(&path))?;
            rule.check_division(if rule.is_divided(has_store) { *shares } else { 1 })
                .map_err(|invalid| invalid.below(&path))?;
            for (index, model) in rule.models.iter().enumerate() {
                let path = format!("{path}.models[{index}]");
                check(models.contains(model.as_str()), &path, || {
                    format!("no backend has a model {model:?}")
                })?;
            }
            check(names.insert(&rule.name), &format!("{path}.name"), || {
                format!("{:?} occurs twice", rule.name)
            })?;
        }
        Ok(())
    }
}

impl Limit {
    /// Whether each replica counts its part by itself, always or while the store does not answer.
    pub fn is_divided(&self, has_store: bool) -> bool {
        !has_store || self.without_store == WithoutStore::Local
    }

    fn validate(&self) -> Checked {
        let is_label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let has_name =
            (1..=MAX_LIMIT_NAME_BYTES).contains(&self.name.len()) && self.name.bytes().all(is_label);
        check(has_name, "name", || {
            format!("{:?} is not 1 to {MAX_LIMIT_NAME_BYTES} of a to z, 0 to 9 and -", self.name)
        })?;
        for (path, named) in [
            ("models", &self.models),
            ("namespaces", &self.namespaces),
            ("exceptNamespaces", &self.except_namespaces),
        ] {
            check(named.len() <= MAX_NAMED, path, || {
                format!("has {} entries, more than {MAX_NAMED}", named.len())
            })?;
            named.iter().enumerate().try_for_each(|(index, one)| name(&format!("{path}[{index}]"), one))?;
        }
        let sizes = 1..=MAX_LIMIT;
        check(sizes.contains(&self.limit), "limit", || {
            format!("{} is outside 1 to {MAX_LIMIT}", self.limit)
        })?;
        check(sizes.contains(&self.burst), "burst", || {
            format!("{} is outside 1 to {MAX_LIMIT}", self.burst)
        })?;
        check(self.algorithm == Algorithm::TokenBucket || self.burst == self.limit, "burst", || {
            "differs from the limit, which only a TokenBucket can".into()
        })?;
        check((MIN_WINDOW_MS..=MAX_WINDOW_MS).contains(&self.window_ms), "windowMs", || {
            format!("{} is outside {MIN_WINDOW_MS} to {MAX_WINDOW_MS} milliseconds", self.window_ms)
        })?;
        let counts_nothing = self.unit == Unit::Tokens && self.routes == [LimitedRoute::Models];
        check(!counts_nothing, "unit", || "a list of models uses no tokens".into())?;
        self.check_token_route()
    }

    /// Who asks for a token is nobody yet, names no model, and uses none.
    fn check_token_route(&self) -> Checked {
        let is_limited = self.routes.contains(&LimitedRoute::Token);
        check(!is_limited || !self.per.needs_client(), "per", || {
            "must be Address or Service for the route Token".into()
        })?;
        for (path, is_given) in [
            ("models", !self.models.is_empty()),
            ("namespaces", !self.namespaces.is_empty()),
            ("exceptNamespaces", !self.except_namespaces.is_empty()),
            ("unit", self.unit != Unit::Requests),
        ] {
            check(!is_limited || !is_given, path, || "means nothing for the route Token".into())?;
        }
        Ok(())
    }

    /// A part that is less than one would be none at all, or a limit for each replica.
    fn check_division(&self, shares: u16) -> Checked {
        let smallest = self.limit.min(self.burst);
        let path = if smallest == self.limit { "limit" } else { "burst" };
        check(smallest >= u64::from(shares), path, || {
            format!(
                "{smallest} cannot be divided among {shares} replicas; raise it, or let the replicas count in a store, \
                 without Local"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use crate::validate::tests::sample_policy;

    fn limit() -> Limit {
        Limit {
            name: "requests".into(),
            routes: Vec::new(),
            models: Vec::new(),
            namespaces: Vec::new(),
            except_namespaces: Vec::new(),
            per: Subject::Client,
            unit: Unit::Requests,
            algorithm: Algorithm::FixedWindow,
            limit: 60,
            window_ms: 60_000,
            burst: 60,
            is_shadow: false,
            without_store: WithoutStore::Deny,
        }
    }

    fn path_of(change: impl FnOnce(&mut Limit)) -> String {
        let mut policy = sample_policy();
        let mut wrong = limit();
        change(&mut wrong);
        policy.limits.rules = vec![wrong];
        policy.validate().unwrap_err().path
    }

    #[test]
    fn every_broken_rule_of_a_limit_is_reported_at_its_path() {
        assert_eq!(path_of(|l| l.name = "Upper".into()), "limits.rules[0].name");
        assert_eq!(path_of(|l| l.name = "a".repeat(41)), "limits.rules[0].name");
        assert_eq!(path_of(|l| l.limit = 0), "limits.rules[0].limit");
        assert_eq!(path_of(|l| l.burst = 61), "limits.rules[0].burst");
        assert_eq!(path_of(|l| l.limit = MAX_LIMIT + 1), "limits.rules[0].limit");
        assert_eq!(path_of(|l| l.window_ms = 999), "limits.rules[0].windowMs");
        assert_eq!(path_of(|l| l.models = vec![String::new()]), "limits.rules[0].models[0]");
        assert_eq!(path_of(|l| l.models = vec!["m".into(), "n".into()]), "limits.rules[0].models[1]");
        let of_lists = |l: &mut Limit| (l.unit, l.routes) = (Unit::Tokens, vec![LimitedRoute::Models]);
        assert_eq!(path_of(of_lists), "limits.rules[0].unit");
        assert_eq!(path_of(|l| l.namespaces = vec!["x".into(); 65]), "limits.rules[0].namespaces");
        assert_eq!(path_of(|l| l.routes = vec![LimitedRoute::Token]), "limits.rules[0].per");
        let address = |l: &mut Limit| (l.routes, l.per) = (vec![LimitedRoute::Token], Subject::Address);
        assert_eq!(path_of(|l| (address(l), l.unit = Unit::Tokens).1), "limits.rules[0].unit");
    }

    #[test]
    fn a_limit_that_replicas_cannot_share_is_refused_where_they_must() {
        let mut policy = sample_policy();
        policy.limits =
            Limits { rules: vec![Limit { limit: 2, burst: 2, ..limit() }], shares: 3, ..Limits::default() };
        let refused = policy.validate().unwrap_err();
        assert_eq!(refused.path, "limits.rules[0].limit");
        assert!(refused.problem.contains("among 3 replicas"), "{}", refused.problem);
        policy.store = Some(Store {
            url: "redis://redis:6379".into(),
            username: None,
            has_credential: false,
            is_cluster: false,
        });
        policy.validate().unwrap();
        policy.limits.rules[0].without_store = WithoutStore::Local;
        assert_eq!(policy.validate().unwrap_err().path, "limits.rules[0].limit");
    }

    #[test]
    fn the_largest_counts_are_exact_in_floating_point() {
        let most_ticks = [3_600_000, MAX_WINDOW_MS / 1_000].into_iter().max().unwrap();
        let largest = u128::from(MAX_LIMIT) * u128::from(most_ticks) * u128::from(2 * MOST_OWED + 1);
        assert!(largest < 1 << 53);
    }
}
