//! A service that runs: for its clients, and for who operates it.

use crate::sdk::run_with_sdk;
use crate::support::{Namespace, eventually};
use codecrucible_tests::client::{Client, Credentials};
use codecrucible_tests::paths;
use codecrucible_tests::port_forward::PortForward;
use serde_json::{Value, json};

fn connect(namespace: &Namespace<'_>) -> (PortForward, Client) {
    let forward = PortForward::start(namespace.cluster, &namespace.name, "service/demo", 8080).unwrap();
    let credentials = Credentials::of(namespace.cluster, &namespace.name, "demo").unwrap();
    let client = Client::authenticate(&forward.url(), &credentials).unwrap();
    (forward, client)
}

#[test]
fn the_official_sdk_works_unchanged() {
    let namespace = Namespace::new("sdk");
    namespace.with_local_model().crucible("demo", "local", "").unwrap();
    namespace.wait_until_ready("demo");
    let (forward, client) = connect(&namespace);

    run_with_sdk("openai_conformance.py", &forward.url(), client.token(), &[]);
}

#[test]
fn a_voice_that_is_patched_speaks_in_the_next_answer_of_the_same_pods() {
    let namespace = Namespace::new("voices");
    namespace.with_local_model().crucible("demo", "local", "  synthesis: {maxTokensPerVoice: 24}").unwrap();
    namespace.wait_until_ready("demo");
    let (_forward, client) = connect(&namespace);
    let pods = || namespace.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].metadata.uid}"]).unwrap();
    let restarts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    let pods_before = pods();

    let patch = json!({"spec": {"synthesis": {
        "voices": [{"name": "poet", "temperaturePercent": 50, "prompt": "You answer in verse."}],
        "defaultVoices": ["poet"],
    }}});
    namespace.kubectl(&["patch", "codecrucible", "demo", "--type=merge", "-p", &patch.to_string()]).unwrap();
    eventually("the poet speaks", || {
        let answer =
            client.post_json("/v1/synthesis", &json!({"task": "Write a Python function f()."})).unwrap();
        answer["candidates"][0]["voice"] == "poet"
    });
    assert_eq!(pods(), pods_before);
    assert_eq!(namespace.kubectl(&["get", "pods", "-o", restarts]).unwrap(), "0");
    let revision = namespace.get("codecrucible/demo").unwrap()["status"]["policy"]["revision"].to_string();
    assert!(revision.starts_with("\"2-"), "{revision}");
}

#[test]
fn a_model_that_cannot_be_loaded_does_not_replace_one_that_works() {
    let namespace = Namespace::new("keeps-model");
    namespace.with_local_model().crucible("demo", "local", "").unwrap();
    namespace.wait_until_ready("demo");
    let (_forward, client) = connect(&namespace);
    let patch = json!({"spec": {"embedded": {"sha256": "0".repeat(64)}}}).to_string();
    namespace.kubectl(&["patch", "modelbackend", "local", "--type=merge", "-p", &patch]).unwrap();
    eventually("the log refuses the new hash", || {
        let log = namespace.kubectl(&["logs", "deployment/demo"]).unwrap_or_default();
        log.contains("configuration refused") && log.contains("0000000000000000 is pinned")
    });
    let question =
        json!({"model": "coder", "max_tokens": 4, "messages": [{"role": "user", "content": "Hi"}]});
    let answer = client.post_json("/v1/chat/completions", &question).unwrap();
    assert!(answer["usage"]["completion_tokens"].as_u64().unwrap() > 0);
    assert_eq!(namespace.condition("demo", "Ready").0, "True/MinimumReplicasAvailable");
}

#[test]
fn a_streamed_synthesis_shows_the_voices_before_its_end_and_scores_that_add_up() {
    let namespace = Namespace::new("synthesis");
    namespace.with_local_model().crucible("demo", "local", "  synthesis: {maxTokensPerVoice: 64}").unwrap();
    namespace.wait_until_ready("demo");
    let (_forward, client) = connect(&namespace);

    let task = "Write a Python function add(a, b) that returns the sum.";
    let request = json!({"task": task, "voices": ["developer", "security"], "stream": true});
    let mut events: Vec<Value> = Vec::new();
    client
        .post_events("/v1/synthesis", &request, |data| {
            events.push(serde_json::from_str(data).unwrap());
            true
        })
        .unwrap();
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let count = |wanted: &str| types.iter().filter(|type_| **type_ == wanted).count();
    assert_eq!((count("voice.started"), count("voice.finished"), count("synthesis.finished")), (2, 2, 1));
    assert!(count("voice.delta") > 2);
    assert_eq!(types.last(), Some(&"synthesis.finished"));

    let synthesis = &events.last().unwrap()["synthesis"];
    for candidate in synthesis["candidates"].as_array().unwrap() {
        let score = &candidate["score"];
        let parts = score["parts"].as_array().unwrap();
        let sum: u64 = parts.iter().map(|part| part["points"].as_u64().unwrap()).sum();
        assert_eq!(score["total"].as_u64(), Some(sum), "{candidate}");
        assert_eq!(parts.iter().map(|part| part["of"].as_u64().unwrap()).sum::<u64>(), 100);
    }
    let winner = synthesis["winner"].as_str().unwrap();
    let candidates = synthesis["candidates"].as_array().unwrap();
    let best = candidates.iter().map(|candidate| candidate["score"]["total"].as_u64()).max().unwrap();
    assert!(
        candidates
            .iter()
            .any(|candidate| candidate["voice"] == winner && candidate["score"]["total"].as_u64() == best)
    );
}

#[test]
fn the_samples_are_accepted_and_explained() {
    let namespace = Namespace::new("samples");
    for sample in ["demo.yaml", "remote.yaml"] {
        let file = paths::repository().join("manifests/samples").join(sample);
        let yaml = std::fs::read_to_string(file).unwrap().replace("namespace: demo", "namespace: samples");
        let resources: Vec<&str> =
            yaml.split("---\n").filter(|part| part.contains("codecrucible.dev/v1alpha1")).collect();
        assert_eq!(resources.len(), 2, "{sample}");
        namespace.apply(&resources.join("---\n")).unwrap();
    }
    let explained = namespace.kubectl(&["explain", "codecrucible.spec.backends"]).unwrap();
    assert!(explained.contains("Names of `ModelBackend`s"), "{explained}");
}

#[test]
fn kubectl_shows_waits_describes_and_deletes() {
    let namespace = Namespace::new("lifecycle");
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    namespace.wait_until_ready("demo");

    let table = namespace.kubectl(&["get", "codecrucible", "-o", "wide"]).unwrap();
    for cell in
        ["READY REPLICAS", "True", "1-", "http://demo.lifecycle.svc:8080", "codecrucible.dev/workload:dev"]
    {
        assert!(table.contains(cell), "{cell} in {table}");
    }
    eventually("Events tell the story", || {
        let story = namespace.kubectl(&["describe", "codecrucible", "demo"]).unwrap();
        ["Ready=False: ", "MinimumReplicasAvailable", "PolicySynced=True: "]
            .iter()
            .all(|part| story.contains(part))
    });

    namespace.kubectl(&["delete", "codecrucible", "demo"]).unwrap();
    let kinds =
        "deployments,pods,services,configmaps,secrets,serviceaccounts,networkpolicies,poddisruptionbudgets";
    let label = "app.kubernetes.io/instance=demo";
    eventually("no child is left", || {
        namespace.kubectl(&["get", kinds, "-l", label, "-o", "name"]).unwrap().is_empty()
    });
}

#[test]
fn the_operator_writes_nothing_while_it_is_paused() {
    let namespace = Namespace::new("paused");
    namespace.with_remote_backend().crucible("demo", "remote", "  maintenance: {paused: true}").unwrap();
    namespace.wait_for("demo", "Progressing", "False/Paused");
    let kinds =
        "deployments,services,configmaps,secrets,serviceaccounts,networkpolicies,poddisruptionbudgets";
    let children = ["get", kinds, "-l", "app.kubernetes.io/instance=demo", "-o", "name"];
    assert_eq!(namespace.kubectl(&children).unwrap(), "");

    let patch = |spec: Value| {
        let patch = json!({"spec": spec}).to_string();
        namespace.kubectl(&["patch", "codecrucible", "demo", "--type=merge", "-p", &patch]).unwrap();
    };
    patch(json!({"maintenance": {"paused": false}}));
    namespace.wait_until_ready("demo");
    let bundle = || namespace.get("configmap/demo-policy").unwrap()["data"].clone();
    let before = bundle();
    patch(json!({"maintenance": {"paused": true}, "synthesis": {"maxTokensPerVoice": 7}}));
    namespace.wait_for("demo", "Progressing", "False/Paused");
    assert_eq!(bundle(), before);
    assert_eq!(namespace.condition("demo", "Available").0, "True/MinimumReplicasAvailable");
}
