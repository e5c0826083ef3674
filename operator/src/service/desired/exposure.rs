//! How the service is reached from outside the cluster: an Ingress, or a route from Gateways and whom those trust then.

use crate::service::pod::PUBLIC_PORT;
use codecrucible_contract::layout;
use codecrucible_crds::{CodeCrucible, GatewayReference, Ingress, Route, names};
use kube::ResourceExt as _;
use serde_json::{Value, json};

pub(super) fn ingress(resource: &CodeCrucible) -> Value {
    let Some(Ingress { class_name, hosts, tls_secret_name, annotations }) = &resource.spec.network.ingress
    else {
        return json!({});
    };
    // By its number, which stays when the service begins to speak TLS, or ends it.
    let service = json!({"name": names::workload(&resource.name_any()), "port": {"number": PUBLIC_PORT}});
    let paths = json!([{"path": "/", "pathType": "Prefix", "backend": {"service": service}}]);
    let rules = hosts.iter().map(|host| json!({"host": host, "http": {"paths": paths}}));
    let mut spec = json!({"rules": rules.collect::<Vec<_>>()});
    if let Some(class) = class_name {
        spec["ingressClassName"] = json!(class);
    }
    if let Some(secret) = tls_secret_name {
        spec["tls"] = json!([{"hosts": hosts, "secretName": secret}]);
    }
    json!({"metadata": {"annotations": annotations}, "spec": spec})
}

/// With all that the API server would fill in: inside these lists it could not be told from what somebody added.
pub(super) fn route(resource: &CodeCrucible) -> Value {
    let Some(Route { gateways, hostnames }) = &resource.spec.network.route else { return json!({}) };
    let service = json!({
        "group": "", "kind": "Service", "name": names::workload(&resource.name_any()), "port": PUBLIC_PORT, "weight": 1,
    });
    let matches = json!([{"path": {"type": "PathPrefix", "value": "/"}}]);
    let mut spec = json!({
        "parentRefs": gateways.iter().map(parent).collect::<Vec<_>>(),
        // The service bounds each request itself, by its backend's limits.
        "rules": [{"matches": matches, "backendRefs": [service], "timeouts": {"request": "0s"}}],
    });
    if !hostnames.is_empty() {
        spec["hostnames"] = json!(hostnames);
    }
    json!({"spec": spec})
}

/// A Gateway as a route names it.
fn parent(GatewayReference { name, namespace, section_name }: &GatewayReference) -> Value {
    let mut parent = json!({"group": names::GATEWAY_GROUP, "kind": "Gateway", "name": name});
    for (key, value) in [("namespace", namespace), ("sectionName", section_name)] {
        if let Some(value) = value {
            parent[key] = json!(value);
        }
    }
    parent
}

/// Without an authority of its own, the certificate is one that everybody trusts.
pub(super) fn route_trust(resource: &CodeCrucible, shown_name: &str, authority: Option<&str>) -> Value {
    let name = resource.name_any();
    let trusted = if authority.is_some() {
        let reference = json!({"group": "", "kind": "ConfigMap", "name": names::public_authority(&name)});
        json!({"caCertificateRefs": [reference]})
    } else {
        json!({"wellKnownCACertificates": "System"})
    };
    let mut object = json!({"spec": {
        "targetRefs": [{"group": "", "kind": "Service", "name": names::workload(&name), "sectionName": "https"}],
        "validation": {"hostname": shown_name},
    }});
    super::merge(&mut object["spec"]["validation"], trusted);
    object
}

/// No secret: whoever connects to the service is shown it.
pub(super) fn public_authority(authority: Option<&str>) -> Value {
    authority.map_or_else(|| json!({}), |authority| json!({"data": {layout::AUTHORITY_FILE: authority}}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;

    #[test]
    fn an_ingress_leads_from_each_host_to_the_service() {
        let asked =
            json!({"hosts": ["a.example", "b.example"], "tlsSecretName": "shown", "annotations": {"x": "y"}});
        let resource = fixtures::resource(json!({"network": {"ingress": asked}}));
        let object = ingress(&resource);
        assert_eq!(object["metadata"]["annotations"]["x"], "y");
        assert_eq!(object["spec"]["ingressClassName"], Value::Null, "the cluster's default");
        for (index, host) in ["a.example", "b.example"].into_iter().enumerate() {
            let rule = &object["spec"]["rules"][index];
            assert_eq!(rule["host"], host);
            let service = &rule["http"]["paths"][0]["backend"]["service"];
            assert_eq!(*service, json!({"name": "demo", "port": {"number": 8080}}));
            assert_eq!(object["spec"]["tls"][0]["hosts"][index], host);
        }
    }

    #[test]
    fn gateways_trust_the_authority_that_clients_are_told_of_or_else_everybodys() {
        let resource = fixtures::resource(json!({"network": {"route": {"gateways": [{"name": "public"}]}}}));
        let own = route_trust(&resource, "demo.team.svc", Some("PEM"));
        let validation = &own["spec"]["validation"];
        assert_eq!(validation["caCertificateRefs"][0]["name"], "demo-ca");
        assert_eq!(validation["hostname"], "demo.team.svc");
        assert_eq!(public_authority(Some("PEM"))["data"]["ca.crt"], "PEM");
        let public = route_trust(&resource, "demo.example", None);
        assert_eq!(public["spec"]["validation"]["wellKnownCACertificates"], "System");
        assert_eq!(public_authority(None), json!({}));
    }
}
