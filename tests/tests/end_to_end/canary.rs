//! New pods that are tried out on a part of the requests: those that serve well replace all others, and those that do not are gone.

use crate::load::while_asking;
use crate::model_server::ModelServer;
use crate::rollout::rollout;
use crate::served::select;
use crate::support::{CLUSTER, Namespace, eventually};
use codecrucible_tests::client::{Client, Credentials};
use codecrucible_tests::port_forward::PortForward;
use serde_json::json;
use std::collections::BTreeSet;

/// Requests after which new pods are judged.
const ENOUGH: usize = 10;

/// The uids of the service's own pods.
fn own_pods(namespace: &Namespace<'_>) -> String {
    let own =
        ["get", "pods", "-l", "codecrucible.dev/track!=canary", "-o", "jsonpath={.items[*].metadata.uid}"];
    namespace.kubectl(&own).unwrap()
}

/// New pods: they ask for so much of a processor.
fn want_new_pods(namespace: &Namespace<'_>, cpu: &str) {
    select(namespace, &json!({"resources": {"requests": {"cpu": cpu}}}));
}

/// Whether so many new pods are ready at a step, counted from 1.
fn is_at(namespace: &Namespace<'_>, step: i64, pods: i64) -> bool {
    let canary = rollout(namespace)["canary"].clone();
    canary["step"] == step && canary["replicas"] == pods && canary["readyReplicas"] == pods
}

/// Asks one of a deployment's pods [`ENOUGH`] times; gives the statuses of the answers.
fn ask(namespace: &Namespace<'_>, deployment: &str) -> BTreeSet<u16> {
    let target = format!("deployment/{deployment}");
    let forward = PortForward::start(&CLUSTER, &namespace.name, &target, 8080).unwrap();
    let credentials = Credentials::of(&CLUSTER, &namespace.name, "demo").unwrap();
    let client = Client::authenticate(&forward.url(), &credentials).unwrap();
    let question = json!({"model": "coder", "messages": [{"role": "user", "content": "Well?"}]});
    let answers = (0..ENOUGH).map(|_| client.post("/v1/chat/completions", &question).unwrap());
    answers.map(|answer| answer.status().as_u16()).collect()
}

/// Two replicas that have run well, of a service that tries new ones out.
fn proven(backend: &ModelServer) -> Namespace<'static> {
    let namespace = Namespace::new("canary");
    namespace
        .apply(&format!(
            "{{apiVersion: codecrucible.dev/v1alpha1, kind: ModelBackend, metadata: {{name: near}},
              spec: {{type: OpenAI, url: 'http://{}/v1', models: [{{name: coder}}]}}}}",
            backend.address
        ))
        .unwrap();
    namespace.crucible("demo", "near", "").unwrap();
    let steps = json!([{"weightPercent": 30, "hold": "1s"}, {"weightPercent": 50, "hold": "10s"}]);
    select(
        &namespace,
        &json!({"replicas": 2, "rollout": {"canary": {"steps": steps, "minimumRequests": ENOUGH}}}),
    );
    eventually("it has run well", || {
        let rollout = rollout(&namespace);
        rollout["phase"] == "Complete" && rollout["lastGood"] == rollout["revision"]
    });
    namespace
}

fn is_gone(namespace: &Namespace<'_>) -> bool {
    namespace.get("deployment/demo-canary").is_none()
}

#[test]
fn new_pods_that_serve_well_replace_all_and_those_that_do_not_are_gone_unnoticed() {
    let backend = ModelServer::start();
    let namespace = proven(&backend);
    let before = own_pods(&namespace);
    let good = rollout(&namespace)["lastGood"].clone();
    let seen = while_asking(&namespace, "demo", || {
        want_new_pods(&namespace, "25m");
        eventually("one pod is tried out", || is_at(&namespace, 1, 1));
        assert_eq!(namespace.condition("demo", "Progressing").0, "True/Canary");
        assert_eq!(namespace.condition("demo", "Reconciling").0, "True/Canary");
        assert_eq!(own_pods(&namespace), before);
        assert_eq!(ask(&namespace, "demo-canary"), [200].into());
        eventually("two are tried out", || is_at(&namespace, 2, 2));
        eventually("all are replaced", || {
            let rollout = rollout(&namespace);
            rollout["phase"] == "Complete" && rollout["lastGood"] != good
        });
    });
    assert_eq!(seen.failures, Vec::<String>::new());
    eventually("nothing is tried out any more", || is_gone(&namespace));

    let before = own_pods(&namespace);
    want_new_pods(&namespace, "26m");
    eventually("another pod is tried out", || is_at(&namespace, 1, 1));
    let new =
        ["get", "pods", "-l", "codecrucible.dev/track=canary", "-o", "jsonpath={.items[*].status.podIP}"];
    backend.fail_for(namespace.kubectl(&new).unwrap().parse().unwrap());
    let seen = while_asking(&namespace, "demo", || {
        assert_eq!(ask(&namespace, "demo-canary"), [502].into());
        let told = namespace.wait_for("demo", "Progressing", "False/RolledBack");
        assert!(told.contains("in step 1 of the canary: 10 of 10 requests failed, more than 5 %"), "{told}");
        eventually("it is gone", || is_gone(&namespace));
    });
    assert_eq!(seen.failures, Vec::<String>::new());
    assert_eq!(rollout(&namespace)["phase"], "RolledBack");
    assert_eq!(own_pods(&namespace), before);
    assert_eq!(ask(&namespace, "demo"), [200].into());
    let events = namespace.kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"]).unwrap();
    assert!(events.contains("Canary") && events.contains("RolledBack"), "{events}");

    want_new_pods(&namespace, "27m");
    eventually("what was mended is tried out", || is_at(&namespace, 1, 1));
    // Whoever wants to try nothing out any more gets it at once.
    select(&namespace, &json!({"rollout": {"canary": null}}));
    eventually("all are replaced", || {
        is_gone(&namespace) && rollout(&namespace)["phase"] == "Complete" && own_pods(&namespace) != before
    });
}
