//! How much clients may ask for.

use super::Invalid;
use super::compile::{milliseconds, number};
use super::store::scope;
use codecrucible_contract as contract;
use codecrucible_crds::{
    CodeCrucible, LimitAlgorithm, LimitMode, LimitSubject, LimitUnit, LimitedRoute, OnStoreFailure, RateLimit,
};
use kube::ResourceExt as _;

pub(super) fn limits(resource: &CodeCrucible) -> Result<contract::Limits, Invalid> {
    let declared = &resource.spec.rate_limits;
    if declared.is_empty() {
        return Ok(contract::Limits::default());
    }
    let rules = declared.iter().enumerate().map(|(index, declared)| limit(index, declared));
    let rules = rules.collect::<Result<Vec<_>, _>>()?;
    let has_store = resource.spec.redis.is_some();
    // Where nothing is ever divided, another number of replicas is no reason for another policy.
    let is_divided = rules.iter().any(|rule| rule.is_divided(has_store));
    let shares = if is_divided { most_replicas(resource)? } else { 1 };
    let namespace = resource.namespace().unwrap_or_default();
    Ok(contract::Limits { rules, shares, namespace, scope: scope(resource) })
}

fn most_replicas(resource: &CodeCrucible) -> Result<u16, Invalid> {
    match &resource.spec.autoscaling {
        Some(autoscaling) => number("spec.autoscaling.maxReplicas", autoscaling.max_replicas),
        // One that sleeps has none.
        None => number("spec.replicas", resource.spec.replicas.max(1)),
    }
}

fn limit(index: usize, declared: &RateLimit) -> Result<contract::Limit, Invalid> {
    let path = format!("spec.rateLimits[{index}]");
    let size = |field: &str, size: i64| {
        u64::try_from(size).map_err(|_| Invalid::value(format!("{path}.{field}: {size} is negative")))
    };
    let limit = size("limit", declared.limit)?;
    Ok(contract::Limit {
        name: declared.name.clone(),
        routes: declared.matching.routes.iter().map(|route| self::route(*route)).collect(),
        models: declared.matching.models.clone(),
        namespaces: declared.matching.namespaces.clone(),
        except_namespaces: declared.matching.except_namespaces.clone(),
        per: match declared.per {
            LimitSubject::Client => contract::Subject::Client,
            LimitSubject::Namespace => contract::Subject::Namespace,
            LimitSubject::Address => contract::Subject::Address,
            LimitSubject::Service => contract::Subject::Service,
        },
        unit: match declared.unit {
            LimitUnit::Requests => contract::Unit::Requests,
            LimitUnit::Tokens => contract::Unit::Tokens,
            LimitUnit::ConcurrentRequests => contract::Unit::ConcurrentRequests,
        },
        algorithm: match declared.algorithm {
            LimitAlgorithm::TokenBucket => contract::Algorithm::TokenBucket,
            LimitAlgorithm::SlidingWindow => contract::Algorithm::SlidingWindow,
            LimitAlgorithm::FixedWindow => contract::Algorithm::FixedWindow,
        },
        limit,
        window_ms: milliseconds(&format!("{path}.window"), &declared.window)?,
        burst: declared.burst.map_or(Ok(limit), |burst| size("burst", burst))?,
        is_shadow: declared.mode == LimitMode::Shadow,
        without_store: match declared.on_store_failure {
            OnStoreFailure::Local => contract::WithoutStore::Local,
            OnStoreFailure::Deny => contract::WithoutStore::Deny,
            OnStoreFailure::Allow => contract::WithoutStore::Allow,
        },
    })
}

fn route(route: LimitedRoute) -> contract::LimitedRoute {
    match route {
        LimitedRoute::ChatCompletions => contract::LimitedRoute::ChatCompletions,
        LimitedRoute::Completions => contract::LimitedRoute::Completions,
        LimitedRoute::Responses => contract::LimitedRoute::Responses,
        LimitedRoute::Embeddings => contract::LimitedRoute::Embeddings,
        LimitedRoute::Messages => contract::LimitedRoute::Messages,
        LimitedRoute::Synthesis => contract::LimitedRoute::Synthesis,
        LimitedRoute::Models => contract::LimitedRoute::Models,
        LimitedRoute::Token => contract::LimitedRoute::Token,
    }
}

#[cfg(test)]
mod tests {
    use crate::service::fixtures::{observed, resource};
    use crate::service::validate::validate;
    use codecrucible_contract as contract;
    use serde_json::{Value, json};

    fn limits(spec: Value) -> contract::Limits {
        let Ok(validated) = validate(&resource(spec), &observed()) else { panic!("it is not valid") };
        validated.bundle.policy().limits.clone()
    }

    fn refusal(spec: Value) -> String {
        let Err(invalid) = validate(&resource(spec), &observed()) else { panic!("it is valid") };
        invalid.message
    }

    #[test]
    fn a_limit_is_per_client_in_requests_a_minute_unless_it_says_otherwise() {
        let compiled = limits(json!({"rateLimits": [{"name": "a", "limit": 60}]}));
        let rule = &compiled.rules[0];
        assert_eq!((rule.per, rule.unit), (contract::Subject::Client, contract::Unit::Requests));
        assert_eq!((rule.limit, rule.burst, rule.window_ms), (60, 60, 60_000));
        assert_eq!((compiled.shares, &*compiled.namespace), (3, "team"));
    }

    #[test]
    fn limits_are_divided_among_as_many_replicas_as_there_may_be_where_any_counts_alone() {
        let shares = |more: Value| {
            let mut spec = json!({"rateLimits": [{"name": "a", "limit": 60}]});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            limits(spec).shares
        };
        assert_eq!(shares(json!({"replicas": 0})), 1);
        assert_eq!(shares(json!({"autoscaling": {"maxReplicas": 20}})), 20);
        let redis = json!({"url": "redis://redis:6379"});
        assert_eq!(shares(json!({"redis": redis})), 3, "Local is the default");
        let denying = json!([{"name": "a", "limit": 1, "onStoreFailure": "Deny"}]);
        assert_eq!(shares(json!({"redis": redis, "rateLimits": denying})), 1);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_path_in_the_resource() {
        assert!(
            refusal(json!({"rateLimits": [{"name": "a", "limit": 2}]}))
                .starts_with("spec.rateLimits[0].limit: 2 cannot be divided among 3 replicas")
        );
        assert!(
            refusal(json!({"rateLimits": [{"name": "a", "limit": 60, "window": "31d"}]}))
                .starts_with("spec.rateLimits[0].window: 2678400000 is outside 1000 to 2592000000")
        );
        assert!(
            refusal(json!({"redis": {"url": "redis://a:b@c"}}))
                .starts_with("spec.redis.url: is not redis://")
        );
    }
}
