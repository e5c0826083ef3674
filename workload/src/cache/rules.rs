//! The rules of a policy, made ready: which of them applies to a request, and with whom its answer is shared.

use crate::backend::Endpoint;
use crate::identity::namespace_of;
use crate::telemetry::AnswerCounters;
use codecrucible_contract::{Cache, CacheRule, CachedRequests, CachedRoute, SharedBy};
use std::sync::Arc;
use std::time::Duration;

/// The rules of a policy, in their order.
pub struct CacheRules {
    rules: Vec<Arc<Rule>>,
    namespace: String,
}

/// One rule.
pub struct Rule {
    pub(super) policy: CacheRule,
    answers: AnswerCounters,
}

/// A request, as far as rules are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Where it goes.
    pub endpoint: Endpoint,
    /// The model, by the name that clients use.
    pub model: &'a str,
    /// Who asks.
    pub client: &'a str,
    /// Whether it asks for the same answer each time.
    pub is_deterministic: bool,
    /// What a backend is told beside the request.
    pub told: &'a str,
    /// What secrets look like that are taken out of answers; empty where none are.
    pub redaction: &'a str,
}

/// Who is given an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharers<'a> {
    Client(&'a str),
    Namespace(&'a str),
}

impl CacheRules {
    /// Those of a policy.
    pub fn new(cache: &Cache) -> Self {
        let rule = |rule: &CacheRule| Arc::new(Rule::from(rule.clone()));
        Self { rules: cache.rules.iter().map(rule).collect(), namespace: cache.namespace.clone() }
    }

    /// The first rule that applies, if any does.
    pub(super) fn applying<'a>(&'a self, asked: &Asked<'a>) -> Option<(&'a Arc<Rule>, Sharers<'a>)> {
        let namespace = namespace_of(asked.client, &self.namespace);
        let rule = self.rules.iter().find(|rule| applies(&rule.policy, asked, namespace))?;
        let sharers = match rule.policy.shared_by {
            SharedBy::Client => Sharers::Client(asked.client),
            SharedBy::Namespace => Sharers::Namespace(namespace),
        };
        Some((rule, sharers))
    }
}

impl Rule {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.policy.name
    }

    /// How long an answer may be given again.
    pub(super) fn ttl(&self) -> Duration {
        Duration::from_millis(self.policy.ttl_ms)
    }

    /// Where it is counted where answers come from that it keeps.
    pub fn answers(&self) -> &AnswerCounters {
        &self.answers
    }
}

impl From<CacheRule> for Rule {
    fn from(policy: CacheRule) -> Self {
        Self { policy, answers: AnswerCounters::default() }
    }
}

fn applies(rule: &CacheRule, asked: &Asked<'_>, namespace: &str) -> bool {
    let is_named = |names: &[String], name: &str| names.is_empty() || names.iter().any(|named| named == name);
    // Messages are chats in another way.
    let is_chat = asked.endpoint == Endpoint::Messages && rule.routes.contains(&CachedRoute::ChatCompletions);
    (rule.routes.is_empty() || is_chat || rule.routes.contains(&asked.endpoint.into()))
        && is_named(&rule.models, asked.model)
        && is_named(&rule.namespaces, namespace)
        && (asked.is_deterministic || rule.requests == CachedRequests::All)
}

impl From<Endpoint> for CachedRoute {
    fn from(endpoint: Endpoint) -> Self {
        match endpoint {
            Endpoint::ChatCompletions => Self::ChatCompletions,
            Endpoint::Completions => Self::Completions,
            Endpoint::Responses => Self::Responses,
            Endpoint::Embeddings => Self::Embeddings,
            Endpoint::Messages => Self::Messages,
        }
    }
}

impl From<CachedRoute> for Endpoint {
    fn from(route: CachedRoute) -> Self {
        match route {
            CachedRoute::ChatCompletions => Self::ChatCompletions,
            CachedRoute::Completions => Self::Completions,
            CachedRoute::Responses => Self::Responses,
            CachedRoute::Embeddings => Self::Embeddings,
            CachedRoute::Messages => Self::Messages,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::rule;
    use super::*;

    fn cache(rules: Vec<CacheRule>) -> CacheRules {
        let namespace = "models".into();
        CacheRules::new(&Cache { memory_bytes: 1 << 20, shared: None, rules, warm_up: Vec::new(), namespace })
    }

    const ASKED: Asked<'static> = Asked {
        endpoint: Endpoint::ChatCompletions,
        model: "coder",
        client: "apps.shop",
        is_deterministic: true,
        told: "",
        redaction: "",
    };

    fn found(rules: &CacheRules, asked: Asked<'_>) -> Option<String> {
        rules.applying(&asked).map(|(rule, _)| rule.name().to_owned())
    }

    #[test]
    fn the_first_rule_that_applies_decides() {
        let embeddings = CacheRule { routes: vec![CachedRoute::Embeddings], ..rule("embeddings") };
        let model = CacheRule { models: vec!["other".into()], ..rule("model") };
        let namespace = CacheRule { namespaces: vec!["models".into()], ..rule("namespace") };
        let cache = cache(vec![embeddings, model, namespace, rule("rest")]);
        let with = |asked| found(&cache, asked).unwrap();
        assert_eq!(with(ASKED), "rest");
        assert_eq!(with(Asked { endpoint: Endpoint::Embeddings, ..ASKED }), "embeddings");
        assert_eq!(with(Asked { model: "other", ..ASKED }), "model");
        assert_eq!(with(Asked { client: "demo", ..ASKED }), "namespace");
    }

    #[test]
    fn what_may_be_answered_otherwise_is_only_meant_where_all_requests_are() {
        let by_chance = Asked { is_deterministic: false, ..ASKED };
        assert_eq!(found(&cache(vec![rule("a")]), by_chance), None);
        let all = CacheRule { requests: CachedRequests::All, ..rule("all") };
        assert_eq!(found(&cache(vec![rule("a"), all]), by_chance).unwrap(), "all");
    }

    #[test]
    fn answers_are_shared_by_a_client_or_its_namespace() {
        let shared = CacheRule { shared_by: SharedBy::Namespace, ..rule("shared") };
        let sharers = |rules: &CacheRules, client| {
            rules.applying(&Asked { client, ..ASKED }).map(|(_, sharers)| format!("{sharers:?}")).unwrap()
        };
        assert_eq!(sharers(&cache(vec![rule("own")]), "apps.shop"), "Client(\"apps.shop\")");
        assert_eq!(sharers(&cache(vec![shared.clone()]), "apps.shop"), "Namespace(\"apps\")");
        assert_eq!(sharers(&cache(vec![shared]), "demo"), "Namespace(\"models\")");
    }
}
