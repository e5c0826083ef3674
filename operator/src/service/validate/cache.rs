//! Which answers are given again.

use super::Invalid;
use super::compile::{milliseconds, number};
use super::quantity::bytes;
use codecrucible_contract as contract;
use codecrucible_crds::{Cache, CacheRule, CachedRequests, CachedRoute, CodeCrucible, SharedBy};
use kube::ResourceExt as _;

pub(super) fn cache(resource: &CodeCrucible) -> Result<Option<contract::Cache>, Invalid> {
    let Some(Cache { memory, rules }) = &resource.spec.cache else { return Ok(None) };
    let memory_bytes = bytes(memory)
        .ok_or_else(|| Invalid::value(format!("spec.cache.memory: {:?} is no number of bytes", memory.0)))?;
    check_room(resource, memory_bytes)?;
    let rules = rules.iter().enumerate().map(|(index, declared)| rule(index, declared));
    let namespace = resource.namespace().unwrap_or_default();
    Ok(Some(contract::Cache { memory_bytes, rules: rules.collect::<Result<_, _>>()?, namespace }))
}

/// A replica that has no more memory than its answers take is killed when they have come.
fn check_room(resource: &CodeCrucible, memory_bytes: u64) -> Result<(), Invalid> {
    let limits = resource.spec.resources.limits.as_ref();
    let Some(limit) = limits.and_then(|limits| limits.get("memory")) else { return Ok(()) };
    match bytes(limit) {
        Some(limit_bytes) if memory_bytes > limit_bytes / 2 => Err(Invalid::value(format!(
            "spec.cache.memory: must be at most half of spec.resources.limits.memory, which is {}",
            limit.0
        ))),
        _ => Ok(()),
    }
}

fn rule(index: usize, declared: &CacheRule) -> Result<contract::CacheRule, Invalid> {
    let path = format!("spec.cache.rules[{index}]");
    Ok(contract::CacheRule {
        name: declared.name.clone(),
        routes: declared.matching.routes.iter().map(|route| self::route(*route)).collect(),
        models: declared.matching.models.clone(),
        namespaces: declared.matching.namespaces.clone(),
        requests: match declared.requests {
            CachedRequests::Deterministic => contract::CachedRequests::Deterministic,
            CachedRequests::All => contract::CachedRequests::All,
        },
        shared_by: match declared.shared_by {
            SharedBy::Client => contract::SharedBy::Client,
            SharedBy::Namespace => contract::SharedBy::Namespace,
        },
        ttl_ms: milliseconds(&format!("{path}.ttl"), &declared.ttl)?,
        epoch: number(&format!("{path}.epoch"), declared.epoch)?,
    })
}

fn route(route: CachedRoute) -> contract::CachedRoute {
    match route {
        CachedRoute::ChatCompletions => contract::CachedRoute::ChatCompletions,
        CachedRoute::Completions => contract::CachedRoute::Completions,
        CachedRoute::Responses => contract::CachedRoute::Responses,
        CachedRoute::Embeddings => contract::CachedRoute::Embeddings,
        CachedRoute::Messages => contract::CachedRoute::Messages,
    }
}

#[cfg(test)]
mod tests {
    use crate::service::fixtures::{observed, resource};
    use crate::service::validate::validate;
    use codecrucible_contract as contract;
    use serde_json::{Value, json};

    fn cache(spec: Value) -> Result<contract::Cache, String> {
        let validated = validate(&resource(spec), &observed()).map_err(|invalid| invalid.message)?;
        validated.bundle.policy().cache.clone().ok_or_else(|| "there is none".to_owned())
    }

    #[test]
    fn answers_to_deterministic_requests_are_kept_for_the_client_for_an_hour_unless_it_is_said_otherwise() {
        let compiled = cache(json!({"cache": {"rules": [{"name": "all"}]}})).unwrap();
        assert_eq!((compiled.memory_bytes, &*compiled.namespace), (64 << 20, "team"));
        let rule = &compiled.rules[0];
        assert_eq!(
            (rule.requests, rule.shared_by),
            (contract::CachedRequests::Deterministic, contract::SharedBy::Client)
        );
        assert_eq!((rule.ttl_ms, rule.epoch), (3_600_000, 0));
    }

    #[test]
    fn a_cache_leaves_half_of_the_memory_to_everything_else() {
        let with = |memory: &str, limit: &str| {
            let resources = json!({"requests": {"cpu": "1"}, "limits": {"memory": limit}});
            cache(json!({"cache": {"memory": memory, "rules": [{"name": "a"}]}, "resources": resources}))
        };
        assert_eq!(with("512Mi", "1Gi").unwrap().memory_bytes, 512 << 20);
        let refusal = with("513Mi", "1Gi").unwrap_err();
        assert!(refusal.starts_with("spec.cache.memory: must be at most half of"), "{refusal}");
        let refusal = with("much", "1Gi").unwrap_err();
        assert!(refusal.starts_with("spec.cache.memory: \"much\" is no number"), "{refusal}");
    }

    #[test]
    fn what_is_wrong_is_told_by_its_path_in_the_resource() {
        let refused = |rule: Value| cache(json!({"cache": {"rules": [rule]}})).unwrap_err();
        let unknown = refused(json!({"name": "a", "match": {"models": ["nobody"]}}));
        assert!(unknown.starts_with("spec.cache.rules[0].match.models[0]: no backend"), "{unknown}");
        let long = refused(json!({"name": "a", "ttl": "31d"}));
        assert!(long.starts_with("spec.cache.rules[0].ttl: "), "{long}");
        let small = cache(json!({"cache": {"memory": "1Ki", "rules": [{"name": "a"}]}})).unwrap_err();
        assert!(small.starts_with("spec.cache.memory: 1024 is outside"), "{small}");
    }
}
