//! How many replicas there are, and who decides that: the resource, a person, an autoscaler, or nobody for a while.

use crate::load::{while_asked_by, while_asking};
use crate::support::{CLUSTER, Namespace, eventually};
use codecrucible_tests::client::{Client, Credentials};
use codecrucible_tests::port_forward::PortForward;
use serde_json::{Value, json};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

/// Clients that make load.
const CLIENTS: usize = 6;

fn patch(namespace: &Namespace<'_>, spec: &Value) {
    let patch = json!({"spec": spec}).to_string();
    namespace.kubectl(&["patch", "codecrucible", "demo", "--type=merge", "-p", &patch]).unwrap();
}

fn replicas(namespace: &Namespace<'_>) -> i64 {
    let deployment = namespace.get("deployment/demo").unwrap_or_default();
    deployment["spec"]["replicas"].as_i64().unwrap_or_default()
}

/// A service with so many replicas, at rest.
fn at_rest(name: &'static str, count: i64) -> Namespace<'static> {
    let namespace = Namespace::new(name);
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    patch(&namespace, &json!({"replicas": count}));
    rest(&namespace, count);
    namespace
}

fn rest(namespace: &Namespace<'_>, count: i64) {
    eventually("it is at rest", || {
        let status = namespace.get("codecrucible/demo").unwrap_or_default()["status"].clone();
        status["readyReplicas"] == count && status["rollout"]["phase"] == "Complete"
    });
}

/// All numbers of replicas that a deployment says while something happens.
fn replicas_while(namespace: &Namespace<'_>, happens: impl FnOnce()) -> Vec<String> {
    let mut kubectl = namespace.cluster.kubectl().unwrap();
    kubectl.args(["-n", &namespace.name, "get", "deployment", "demo", "--watch"]);
    kubectl.args(["-o", "jsonpath={.spec.replicas}{\"\\n\"}"]);
    let mut watching = kubectl.stdout(Stdio::piped()).spawn().unwrap();
    happens();
    watching.kill().unwrap();
    let seen = watching.wait_with_output().unwrap();
    String::from_utf8(seen.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn an_autoscaler_adds_replicas_under_load_and_takes_them_away_unnoticed() {
    CLUSTER.serve_metrics().unwrap();
    let namespace = at_rest("autoscaled", 3);
    let at_once = json!({"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 10, "periodSeconds": 15}]});
    let behavior = json!({"scaleUp": at_once, "scaleDown": at_once});
    let autoscaling =
        json!({"minReplicas": 3, "maxReplicas": 5, "targetMemoryPercent": 0, "behavior": behavior});
    let seen = replicas_while(&namespace, || {
        patch(&namespace, &json!({"autoscaling": autoscaling}));
        eventually("the autoscaler has figures", || {
            let autoscaler = namespace.get("horizontalpodautoscaler/demo").unwrap_or_default();
            autoscaler["status"]["currentMetrics"][0]["resource"]["current"]["averageUtilization"].is_i64()
        });
    });
    assert!(!seen.is_empty() && seen.iter().all(|count| count == "3"), "no jump: {seen:?}");

    let up = while_asked_by(CLIENTS, Duration::ZERO, &namespace, "demo", || {
        eventually("there are more replicas", || replicas(&namespace) > 3);
        rest(&namespace, replicas(&namespace));
    });
    let down = while_asking(&namespace, "demo", || {
        eventually("there are three again", || replicas(&namespace) == 3);
        rest(&namespace, 3);
    });
    assert_eq!((up.failures, down.failures), (Vec::<String>::new(), Vec::<String>::new()));

    // Taken back, it is what the resource says, at once.
    let seen = replicas_while(&namespace, || {
        patch(&namespace, &json!({"replicas": 2, "autoscaling": null}));
        eventually("the autoscaler is gone", || namespace.get("horizontalpodautoscaler/demo").is_none());
        rest(&namespace, 2);
    });
    assert!(seen.iter().all(|count| count == "3" || count == "2"), "{seen:?}");
}

#[test]
fn an_autoscaler_follows_the_requests_that_are_in_flight() {
    CLUSTER.serve_requests_in_flight().unwrap();
    let namespace = Namespace::new("in-flight");
    let silence = CLUSTER.listen_on_the_node().unwrap();
    namespace
        .apply(&format!(
            "{{apiVersion: codecrucible.dev/v1alpha1, kind: ModelBackend, metadata: {{name: silent}},
              spec: {{type: OpenAI, url: 'http://{}/v1', models: [{{name: coder}}], timeouts: {{firstByte: 5m}}}}}}",
            silence.local_addr().unwrap()
        ))
        .unwrap();
    let at_once = json!({"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 10, "periodSeconds": 15}]});
    namespace.crucible("demo", "silent", "").unwrap();
    patch(
        &namespace,
        &json!({"autoscaling": {
            "minReplicas": 1, "maxReplicas": 3, "targetCpuPercent": 0, "targetMemoryPercent": 0, "targetRequestsInFlight": 4,
            "behavior": {"scaleUp": at_once, "scaleDown": at_once},
        }}),
    );
    rest(&namespace, 1);

    let forward = PortForward::start(&CLUSTER, &namespace.name, "service/demo", 8080).unwrap();
    let credentials = Credentials::of(&CLUSTER, &namespace.name, "demo").unwrap();
    let client = Client::authenticate(&forward.url(), &credentials).unwrap();
    let request = json!({"model": "coder", "messages": [{"role": "user", "content": "Wait."}]});
    thread::scope(|scope| {
        let asking: Vec<_> =
            (0..12).map(|_| scope.spawn(|| client.post("/v1/chat/completions", &request))).collect();
        let grown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually("there are three replicas for twelve requests", || replicas(&namespace) == 3);
        }));
        // Whoever waited is told that nobody answers.
        drop(silence);
        for asked in asking {
            assert_eq!(asked.join().unwrap().unwrap().status().as_u16(), 502);
        }
        grown.unwrap();
    });
    eventually("there is one again", || replicas(&namespace) == 1);
    rest(&namespace, 1);
}

#[test]
fn a_person_scales_the_resource_as_any_workload() {
    let namespace = at_rest("scaled", 1);
    // With the rights of somebody who edits the namespace.
    namespace.kubectl(&["create", "rolebinding", "editor", "--clusterrole=edit", "--user=editor"]).unwrap();
    namespace.kubectl(&["scale", "codecrucible", "demo", "--replicas=2", "--as=editor"]).unwrap();
    rest(&namespace, 2);
    let selector = namespace.get("codecrucible/demo").unwrap()["status"]["selector"].clone();
    let pods = namespace.kubectl(&["get", "pods", "-l", selector.as_str().unwrap(), "-o", "name"]).unwrap();
    assert_eq!(pods.lines().count(), 2, "{pods}");
}

#[test]
fn a_service_that_hibernates_keeps_everything_and_comes_back() {
    let namespace = at_rest("hibernated", 1);
    patch(&namespace, &json!({"autoscaling": {"minReplicas": 2}}));
    rest(&namespace, 2);
    let key = || namespace.get("secret/demo-signing-keys").unwrap()["data"].clone();
    let address = || namespace.get("service/demo").unwrap()["spec"]["clusterIP"].clone();
    let before = (key(), address());

    patch(&namespace, &json!({"maintenance": {"hibernate": true}}));
    namespace.wait_for("demo", "Available", "False/ScaledToZero");
    eventually("no pod is left", || namespace.kubectl(&["get", "pods", "-o", "name"]).unwrap().is_empty());
    assert!(namespace.get("horizontalpodautoscaler/demo").is_none());
    namespace.wait_for("demo", "Reconciling", "False/Stable");
    assert_eq!((key(), address()), before);

    patch(&namespace, &json!({"maintenance": {"hibernate": false}}));
    rest(&namespace, 2);
    assert_eq!((key(), address()), before);
    namespace.wait_for("demo", "Ready", "True/MinimumReplicasAvailable");
}
