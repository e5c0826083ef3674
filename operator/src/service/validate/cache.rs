//! Which answers are given again.

use super::Invalid;
use super::compile::{milliseconds, number};
use super::store::{self, scope};
use crate::service::pod::DISK_RESERVE_BYTES;
use crate::service::quantity::bytes;
use codecrucible_contract as contract;
use codecrucible_crds::{Cache, CacheRule, CachedRequests, CachedRoute, CodeCrucible, SharedBy, WarmUp};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt as _;
use std::ops::RangeInclusive;

/// Least and most room on a disk, bytes (64 MiB, 1 TiB).
const DISK_BYTES: RangeInclusive<u64> = 64 << 20..=1 << 40;
/// Disk for one part of memory: an answer takes 4 KiB of disk or more, and up to 256 bytes of memory for where it lies.
const DISK_OF_MEMORY: u64 = 16;

pub(super) fn cache(resource: &CodeCrucible) -> Result<Option<contract::Cache>, Invalid> {
    let Some(Cache { memory, disk, redis, rules, warm_up }) = &resource.spec.cache else { return Ok(None) };
    let memory_bytes = size("spec.cache.memory", memory)?;
    check_room(resource, memory_bytes)?;
    disk.as_ref().map_or(Ok(()), |disk| check_disk(resource, disk, memory_bytes))?;
    let rules = rules.iter().enumerate().map(|(index, declared)| rule(index, declared));
    let namespace = resource.namespace().unwrap_or_default();
    let shared = redis
        .as_ref()
        .map(|redis| contract::SharedAnswers { store: store::store(redis), scope: scope(resource) });
    let rules = rules.collect::<Result<_, _>>()?;
    let warm_up = warm_up.iter().map(question).collect();
    Ok(Some(contract::Cache { memory_bytes, shared, rules, warm_up, namespace }))
}

fn size(path: &str, quantity: &Quantity) -> Result<u64, Invalid> {
    bytes(quantity).ok_or_else(|| Invalid::value(format!("{path}: {:?} is no number of bytes", quantity.0)))
}

fn limit<'a>(resource: &'a CodeCrucible, of: &str) -> Option<&'a Quantity> {
    resource.spec.resources.limits.as_ref()?.get(of)
}

/// A replica that has no more memory than its answers take is killed when they have come.
fn check_room(resource: &CodeCrucible, memory_bytes: u64) -> Result<(), Invalid> {
    match limit(resource, "memory") {
        Some(limit) if bytes(limit).is_some_and(|most| memory_bytes > most / 2) => {
            Err(Invalid::value(format!(
                "spec.cache.memory: must be at most half of spec.resources.limits.memory, which is {}",
                limit.0
            )))
        }
        _ => Ok(()),
    }
}

/// A pod that has less disk than its answers take is evicted when they have come, and one that has too little memory to know where they lie is killed.
fn check_disk(resource: &CodeCrucible, disk: &Quantity, memory_bytes: u64) -> Result<(), Invalid> {
    let disk_bytes = size("spec.cache.disk", disk)?;
    if !DISK_BYTES.contains(&disk_bytes) {
        return Err(Invalid::value(format!("spec.cache.disk: {} is outside 64Mi to 1Ti", disk.0)));
    }
    let needed = memory_bytes.saturating_add(disk_bytes / DISK_OF_MEMORY);
    if let Some(limit) = limit(resource, "memory")
        && bytes(limit).is_some_and(|most| needed > most / 2)
    {
        return Err(Invalid::value(format!(
            "spec.cache.disk: a 16th of it, for where answers lie, and spec.cache.memory must be at most half of \
             spec.resources.limits.memory, which is {}",
            limit.0
        )));
    }
    match limit(resource, "ephemeral-storage") {
        Some(limit) if bytes(limit).is_some_and(|most| disk_bytes + DISK_RESERVE_BYTES > most) => {
            Err(Invalid::value(format!(
                "spec.cache.disk: must be at least 128Mi less than spec.resources.limits.ephemeral-storage, which is {}",
                limit.0
            )))
        }
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

fn question(declared: &WarmUp) -> contract::WarmUp {
    let WarmUp { client, route, request, headers } = declared.clone();
    contract::WarmUp { client, route: self::route(route), request, headers }
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
    fn a_disk_is_neither_too_small_nor_more_than_a_pod_may_take() {
        let with = |disk: &str, limit: Option<&str>| {
            let limits =
                limit.map_or(json!({}), |limit| json!({"ephemeral-storage": limit, "memory": "2Gi"}));
            cache(json!({"cache": {"disk": disk, "rules": [{"name": "a"}]}, "resources": {"limits": limits}}))
        };
        assert!(
            with("64Mi", None).is_ok() && with("1Ti", None).is_ok() && with("896Mi", Some("1Gi")).is_ok()
        );
        let refused = |disk, limit| with(disk, limit).unwrap_err();
        assert!(with("15Gi", Some("1Ti")).is_ok());
        assert_eq!(
            refused("16Gi", Some("1Ti")),
            "spec.cache.disk: a 16th of it, for where answers lie, and spec.cache.memory must be at most half of \
             spec.resources.limits.memory, which is 2Gi"
        );
        assert_eq!(refused("63Mi", None), "spec.cache.disk: 63Mi is outside 64Mi to 1Ti");
        assert_eq!(refused("much", None), "spec.cache.disk: \"much\" is no number of bytes");
        assert_eq!(
            refused("897Mi", Some("1Gi")),
            "spec.cache.disk: must be at least 128Mi less than spec.resources.limits.ephemeral-storage, which is 1Gi"
        );
    }

    #[test]
    fn a_redis_of_answers_is_told_of_without_its_password_and_wrong_ones_by_their_path() {
        let with = |redis: Value| json!({"cache": {"redis": redis, "rules": [{"name": "a"}]}});
        let shared = cache(with(json!({"url": "redis://redis:6379"}))).unwrap().shared.unwrap();
        assert_eq!((&*shared.store.url, &*shared.scope), ("redis://redis:6379", "team/demo/1-2-3"));
        let wrong = cache(with(json!({"url": "redis://a:b@c"}))).unwrap_err();
        assert!(wrong.starts_with("spec.cache.redis.url: is not redis://"), "{wrong}");
        let nameless = json!({"url": "redis://redis", "passwordSecretRef": {"name": "s", "key": "k"}});
        assert_eq!(
            cache(with(nameless)).unwrap_err(),
            "spec.cache.redis.passwordSecretRef.name: there is no Secret \"s\" in this namespace"
        );
    }

    #[test]
    fn what_is_wrong_is_told_by_its_path_in_the_resource() {
        let refused = |rule: Value| cache(json!({"cache": {"rules": [rule]}})).unwrap_err();
        let unknown = refused(json!({"name": "a", "match": {"models": ["nobody"]}}));
        assert!(unknown.starts_with("spec.cache.rules[0].match.models[0]: no backend"), "{unknown}");
        let long = refused(json!({"name": "a", "ttl": "31d"}));
        assert!(long.starts_with("spec.cache.rules[0].ttl: "), "{long}");
        let asking = |request: &str| json!({"rules": [{"name": "a"}], "warmUp": [{"client": "demo", "route": "Embeddings", "request": request}]});
        let stranger = cache(json!({"cache": asking(r#"{"model":"nobody"}"#)})).unwrap_err();
        assert_eq!(stranger, "spec.cache.warmUp[0].request: no backend has a model \"nobody\"");
        let small = cache(json!({"cache": {"memory": "1Ki", "rules": [{"name": "a"}]}})).unwrap_err();
        assert!(small.starts_with("spec.cache.memory: 1024 is outside"), "{small}");
    }
}
