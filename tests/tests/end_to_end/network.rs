//! What pods may reach, and who may reach them, with the policies enforced: each way that is declared is open, and each
//! other one closed, though it leads to something that listens.

use crate::support::{CLUSTER, Namespace, eventually};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};

/// A pod that does nothing, from whose network a test connects.
const PROBE: &str = "{apiVersion: v1, kind: Pod, metadata: {name: probe}, spec: {
    securityContext: {runAsNonRoot: true, runAsUser: 65535, seccompProfile: {type: RuntimeDefault}},
    containers: [{name: probe, image: 'codecrucible.dev/pause:1', imagePullPolicy: Never,
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]}}";

fn address(namespace: &Namespace<'_>, selector: &[&str]) -> IpAddr {
    let shown = || {
        let jsonpath = "jsonpath={.items[0].status.podIP}";
        namespace.kubectl(&[&["get", "pods", "-o", jsonpath][..], selector].concat()).unwrap_or_default()
    };
    eventually("the pod has an address", || shown().parse::<IpAddr>().is_ok());
    shown().parse().unwrap()
}

fn probe(name: &'static str) -> (Namespace<'static>, IpAddr) {
    let namespace = Namespace::new(name);
    namespace.apply(PROBE).unwrap();
    let address = address(&namespace, &[]);
    (namespace, address)
}

#[test]
fn every_declared_way_is_open_and_every_other_one_closed() {
    let (_callers, caller) = probe("net-caller");
    let (_monitors, monitor) = probe("net-monitor");
    let (_strangers, stranger) = probe("net-stranger");
    // A service is as good a backend as any: something listens on three ports.
    let backends = Namespace::new("net-backend");
    backends.with_remote_backend().crucible("demo", "remote", "").unwrap();
    let namespace = Namespace::new("net");
    namespace
        .apply(
            "{apiVersion: codecrucible.dev/v1alpha1, kind: ModelBackend, metadata: {name: remote},
              spec: {type: OpenAI, url: 'http://demo.net-backend.svc:8080/v1', models: [{name: coder}]}}",
        )
        .unwrap();
    let network = "  network: {allowedNamespaces: [net-caller], monitoringNamespaces: [net-monitor]}";
    namespace.crucible("demo", "remote", network).unwrap();
    backends.wait_until_ready("demo");
    namespace.wait_until_ready("demo");
    let (pod, backend) = (address(&namespace, &[]), address(&backends, &[]));
    let operator = Namespace { cluster: &CLUSTER, name: "codecrucible-system".into() };
    let operator_address = address(&operator, &[]);
    // It is not ours to remove.
    std::mem::forget(operator);

    let to = |address: IpAddr, port: u16| SocketAddr::new(address, port);
    let service = |name: &str| -> IpAddr { name.parse().unwrap() };
    let (names, api) = (service("10.96.0.10"), service("10.96.0.1"));
    let backend_service: Value = backends.get("service/demo").unwrap()["spec"]["clusterIP"].clone();
    let backend_service = service(backend_service.as_str().unwrap());
    let open = [
        ("callers call", caller, to(pod, 8080)),
        ("monitors read metrics", monitor, to(pod, 9090)),
        ("the operator asks", operator_address, to(pod, 9443)),
        ("names are asked for", pod, to(names, 53)),
        ("the backend is called", pod, to(backend_service, 8080)),
    ];
    let closed = [
        ("callers read metrics", caller, to(pod, 9090)),
        ("callers ask as the operator", caller, to(pod, 9443)),
        ("monitors call", monitor, to(pod, 8080)),
        ("strangers call", stranger, to(pod, 8080)),
        ("strangers read metrics", stranger, to(pod, 9090)),
        ("strangers ask as the operator", stranger, to(pod, 9443)),
        ("the operator calls", operator_address, to(pod, 8080)),
        ("the backend's metrics are read", pod, to(backend, 9090)),
        ("the API server is called", pod, to(api, 443)),
        ("the node is called", pod, to(service("10.250.0.1"), 6443)),
    ];
    let connects = |from: IpAddr, to: SocketAddr| CLUSTER.pod_connects(from, to).unwrap();
    for (what, from, to) in open.iter().chain(&closed) {
        assert!(connects(*from, *to), "{what}, while nothing is enforced");
    }
    CLUSTER.enforce_policies("net").unwrap();
    for (what, from, to) in open {
        assert!(connects(from, to), "{what}");
    }
    for (what, from, to) in closed {
        assert!(!connects(from, to), "{what}");
    }
    // The service itself lives with it.
    let patch = json!({"spec": {"observability": {"logLevel": "Debug"}}}).to_string();
    namespace.kubectl(&["patch", "codecrucible", "demo", "--type=merge", "-p", &patch]).unwrap();
    eventually("the policy is acknowledged", || {
        namespace.condition("demo", "PolicySynced").1.starts_with("1 of 1 ready replicas run 2-")
    });
    CLUSTER.release_policies("net").unwrap();
}
