//! A service is reached from outside the cluster: by an Ingress, and by Gateways that check whom they speak to.

use crate::sdk::run_with_sdk_inside;
use crate::support::{CLUSTER, Namespace, eventually};
use codecrucible_tests::client::Credentials;
use serde_json::{Value, json};

const GATEWAYS: &str = "
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: exposure},
 spec: {controllerName: traefik.io/gateway-controller}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public}
spec: {gatewayClassName: exposure, listeners: [{name: web, port: 8000, protocol: HTTP}]}
";

fn network_is(namespace: &Namespace<'_>, network: &Value) {
    let change = json!({"spec": {"network": network}}).to_string();
    namespace.kubectl(&["patch", "codecrucible/demo", "--type=merge", "-p", &change]).unwrap();
}

#[test]
fn a_gateway_and_an_ingress_lead_to_the_service_once_the_cluster_has_them() {
    let namespace = Namespace::new("exposure");
    // An earlier run may have left them.
    let group = "gateways,gatewayclasses,httproutes,backendtlspolicies".split(',');
    let kinds: Vec<_> = group.map(|kind| format!("crd/{kind}.gateway.networking.k8s.io")).collect();
    let delete = ["delete", "--ignore-not-found"].into_iter().chain(kinds.iter().map(String::as_str));
    assert!(CLUSTER.kubectl().unwrap().args(delete).status().unwrap().success());

    namespace.with_local_model().crucible("demo", "local", "").unwrap();
    let tls = json!({"spec": {"profile": "Production", "tls": {"mode": "OperatorCA"}}}).to_string();
    namespace.kubectl(&["patch", "codecrucible/demo", "--type=merge", "-p", &tls]).unwrap();
    let route = json!({"gateways": [{"name": "public"}], "hostnames": ["route.example"]});
    network_is(&namespace, &json!({"route": route}));
    namespace.wait_until_ready("demo");
    namespace.wait_for("demo", "Exposed", "False/ApiNotServed");

    let gateway = CLUSTER.serve_gateways().unwrap();
    namespace.wait_for("demo", "Exposed", "False/AwaitingController");
    namespace.apply(GATEWAYS).unwrap();
    namespace.wait_for("demo", "Exposed", "True/Routed");
    // The gateway knows no certificate but the one of the service's own authority, and checks it.
    let Credentials { id, secret } = Credentials::of(&CLUSTER, &namespace.name, "demo").unwrap();
    let reach = |host: &str| {
        let address = format!("http://{gateway}");
        let told = [("GATEWAY", &*address), ("HOST", host), ("ID", &id), ("SECRET", &secret)];
        run_with_sdk_inside("openai_outside.py", &told);
    };
    reach("route.example");

    // A change of the route is not taken for done before the gateway has seen it.
    let elsewhere = json!({"gateways": [{"name": "public", "sectionName": "absent"}]});
    network_is(&namespace, &json!({"route": elsewhere}));
    eventually("the gateway refuses it", || {
        let (state, message) = namespace.condition_of("codecrucible/demo", "Exposed");
        state == "False/Refused" && message.contains("\"public\"")
    });

    let ingress = json!({"className": "exposure", "hosts": ["ingress.example"]});
    network_is(&namespace, &json!({"route": null, "ingress": ingress}));
    // Without a certificate that an Ingress' controller could be told of by its standard, nothing is encrypted here.
    let plain = json!({"spec": {"profile": "Development", "tls": {"mode": "Disabled"}}}).to_string();
    namespace.kubectl(&["patch", "codecrucible/demo", "--type=merge", "-p", &plain]).unwrap();
    eventually("the route is gone", || {
        namespace.get("httproute/demo").is_none() && namespace.get("backendtlspolicy/demo").is_none()
    });
    namespace.apply(
        "{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: exposure}, spec: {controller: traefik.io/ingress-controller}}",
    )
    .unwrap();
    namespace.wait_for("demo", "Exposed", "True/Routed");
    // Until then there are pods that speak TLS.
    namespace.wait_for("demo", "Reconciling", "False/Stable");
    eventually("one pod is left", || {
        namespace.kubectl(&["get", "pods", "-o", "name"]).unwrap().lines().count() == 1
    });
    reach("ingress.example");

    network_is(&namespace, &json!({"ingress": null}));
    eventually("nothing leads there any more", || {
        namespace.get("ingress/demo").is_none()
            && namespace.condition_of("codecrucible/demo", "Exposed").0 == "/"
    });
}
