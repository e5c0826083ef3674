//! How the service is reached, and what it may reach.

use super::metadata::selector;
use crate::reconcile::pod::{ADMIN_PORT, PUBLIC_PORT, STATUS_PORT};
use codecrucible_contract::{BackendKind, Policy};
use codecrucible_crds::CodeCrucible;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) fn service(resource: &CodeCrucible) -> Value {
    json!({"spec": {
        "type": "ClusterIP",
        "selector": selector(resource),
        "ports": [{"name": "http", "port": PUBLIC_PORT, "targetPort": "http", "protocol": "TCP"}],
    }})
}

/// Pods of the cluster may call the three ports. The service may ask for names and reach its backends' ports;
/// a NetworkPolicy knows no host names, so the ports are all that can be held to.
pub(super) fn network_policy(resource: &CodeCrucible, policy: &Policy) -> Value {
    let mut egress =
        vec![json!({"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]})];
    let backend_ports: Vec<Value> =
        backend_ports(policy).into_iter().map(|port| json!({"port": port, "protocol": "TCP"})).collect();
    if !backend_ports.is_empty() {
        egress.push(json!({"ports": backend_ports}));
    }
    let ingress_ports =
        [PUBLIC_PORT, ADMIN_PORT, STATUS_PORT].map(|port| json!({"port": port, "protocol": "TCP"}));
    json!({"spec": {
        "podSelector": {"matchLabels": selector(resource)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{
            "from": [{"namespaceSelector": {}}],
            "ports": ingress_ports,
        }],
        "egress": egress,
    }})
}

fn backend_ports(policy: &Policy) -> BTreeSet<u16> {
    let remote = policy.backends.iter().filter_map(|backend| match &backend.kind {
        BackendKind::Remote(remote) => Some(remote.url.as_str()),
        BackendKind::Embedded(_) => None,
    });
    remote.filter_map(port_of).collect()
}

fn port_of(url: &str) -> Option<u16> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    // The last colon outside the brackets of an IPv6 address.
    let explicit = authority.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    match explicit {
        Some((_, port)) => port.parse().ok(),
        None => Some(if scheme == "https" { 443 } else { 80 }),
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
        ] {
            assert_eq!(port_of(url), Some(port), "{url}");
        }
        assert_eq!(port_of("http://x:99999"), None);
    }
}
