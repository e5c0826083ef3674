//! How the service is reached, and what it may reach.

use super::metadata::selector;
use crate::service::pod::{ADMIN_PORT, PUBLIC_PORT, STATUS_PORT};
use codecrucible_contract::{BackendKind, Policy};
use codecrucible_crds::{CodeCrucible, Network};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) fn service(resource: &CodeCrucible, is_encrypted: bool) -> Value {
    let protocol = if is_encrypted { "https" } else { "http" };
    let annotations = &resource.spec.network.service_annotations;
    let metadata = if annotations.is_empty() { json!({}) } else { json!({"annotations": annotations}) };
    json!({"metadata": metadata, "spec": {
        "type": "ClusterIP",
        "selector": selector(resource),
        "ports": [{
            "name": protocol, "appProtocol": protocol, "port": PUBLIC_PORT, "targetPort": "http", "protocol": "TCP",
        }],
    }})
}

/// Pods of declared namespaces may call the API and read metrics, and those of the operator's namespace may ask what was
/// applied. The service may ask for names, and reach its backends and its stores.
pub(super) fn network_policy(resource: &CodeCrucible, policy: &Policy, operator_namespace: &str) -> Value {
    let Network { allowed_namespaces, monitoring_namespaces, .. } = &resource.spec.network;
    let operator = [operator_namespace.to_owned()];
    let ingress = [
        from(allowed_namespaces.as_deref(), PUBLIC_PORT),
        from(monitoring_namespaces.as_deref(), ADMIN_PORT),
        from(Some(&operator), STATUS_PORT),
    ];
    let names = json!({"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]});
    let egress = std::iter::once(names).chain(destinations(policy).into_iter().map(to));
    json!({"spec": {
        "podSelector": {"matchLabels": selector(resource)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress.into_iter().flatten().collect::<Vec<_>>(),
        "egress": egress.collect::<Vec<_>>(),
    }})
}

/// Lets pods of these namespaces, or of all, in at a port. Nothing where there are none: an empty list would let all in.
fn from(namespaces: Option<&[String]>, port: u16) -> Option<Value> {
    let peers: Value = match namespaces {
        None => json!([{"namespaceSelector": {}}]),
        Some([]) => return None,
        Some(namespaces) => namespaces.iter().map(|namespace| pods_of(namespace)).collect(),
    };
    Some(json!({"from": peers, "ports": [{"port": port, "protocol": "TCP"}]}))
}

fn pods_of(namespace: &str) -> Value {
    json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}})
}

/// A NetworkPolicy knows no host names: of servers outside the cluster, the port is all that can be held to.
fn to(Destination { namespace, port }: Destination) -> Value {
    let ports = json!([{"port": port, "protocol": "TCP"}]);
    match namespace {
        Some(namespace) => json!({"to": [pods_of(&namespace)], "ports": ports}),
        None => json!({"ports": ports}),
    }
}

/// Where a backend is.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Destination {
    /// Of a service in the cluster.
    namespace: Option<String>,
    port: u16,
}

fn destinations(policy: &Policy) -> BTreeSet<Destination> {
    let remote = policy.backends.iter().filter_map(|backend| match &backend.kind {
        BackendKind::Remote(remote) => Some(remote.url.as_str()),
        BackendKind::Embedded(_) => None,
    });
    let stores = policy.stores().map(|store| store.url.as_str());
    let traces = policy.observability.traces.iter().map(|traces| traces.endpoint.as_str());
    remote
        .chain(stores)
        .chain(traces)
        .filter_map(|url| Some(Destination { namespace: namespace_of(url), port: port_of(url)? }))
        .collect()
}

/// The namespace of a service of the cluster: `NAME.NAMESPACE.svc`, with or without the cluster's domain.
fn namespace_of(url: &str) -> Option<String> {
    let authority = url.split_once("://")?.1.split('/').next()?;
    let host = authority.split(':').next()?.trim_end_matches('.');
    let host = host.strip_suffix(".cluster.local").unwrap_or(host);
    let (name, namespace) = host.strip_suffix(".svc")?.split_once('.')?;
    let is_whole = !name.is_empty() && !namespace.is_empty() && !namespace.contains('.');
    is_whole.then(|| namespace.to_owned())
}

fn port_of(url: &str) -> Option<u16> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    // The last colon outside the brackets of an IPv6 address.
    let explicit = authority.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    match explicit {
        Some((_, port)) => port.parse().ok(),
        None => Some(match scheme {
            "https" => 443,
            "redis" | "rediss" => 6379,
            _ => 80,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_come_from_the_url_or_its_scheme() {
        for (url, port) in [
            ("https://api.example.com/v1", 443),
            ("http://ollama:11434", 11434),
            ("http://ollama", 80),
            ("http://[::1]:8000/v1", 8000),
            ("http://[::1]/v1", 80),
            ("redis://redis.cache.svc", 6379),
            ("rediss://redis:6380/1", 6380),
        ] {
            assert_eq!(port_of(url), Some(port), "{url}");
        }
        assert_eq!(port_of("http://x:99999"), None);
    }

    #[test]
    fn a_service_of_the_cluster_is_known_by_its_namespace() {
        for (url, namespace) in [
            ("http://vllm.models.svc:8000/v1", Some("models")),
            ("http://vllm.models.svc.cluster.local/v1", Some("models")),
            ("http://vllm.models/v1", None),
            ("https://api.example.com/v1", None),
            ("https://a.b.c.svc/v1", None),
            ("http://.svc/v1", None),
        ] {
            assert_eq!(namespace_of(url).as_deref(), namespace, "{url}");
        }
    }

    #[test]
    fn no_namespace_is_not_all_of_them() {
        assert_eq!(from(Some(&[]), 1), None);
        assert_eq!(from(None, 1).unwrap()["from"], json!([{"namespaceSelector": {}}]));
        let named = from(Some(&["a".to_owned()]), 1).unwrap();
        let labels = &named["from"][0]["namespaceSelector"]["matchLabels"];
        assert_eq!(labels["kubernetes.io/metadata.name"], "a");
    }
}
