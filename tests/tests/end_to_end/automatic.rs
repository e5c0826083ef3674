//! Clients that leave it to the service which model answers: a real model writes what a server that says yes to everything does not, and neither of them
//! reads a secret.

use crate::model_server::ModelServer;
use crate::sdk::run_with_sdk;
use crate::served::metrics;
use crate::support::{CLUSTER, Namespace, eventually};
use codecrucible_tests::client::{Client, Credentials};
use codecrucible_tests::port_forward::PortForward;
use serde_json::json;

const SECRET: &str = "AKIAIOSFODNN7EXAMPLE";

#[test]
fn the_official_sdk_asks_for_auto_and_is_answered_by_the_model_that_suits_without_any_of_them_reading_a_secret()
 {
    let (namespace, server) = (Namespace::new("automatic"), ModelServer::start());
    let backend = json!({"apiVersion": "codecrucible.dev/v1alpha1", "kind": "ModelBackend", "metadata": {"name": "remote"},
        "spec": {"type": "OpenAI", "url": format!("http://{}/v1", server.address), "models": [{"name": "small", "tier": "Fast"}]}});
    namespace.with_local_model().apply(&backend.to_string()).unwrap();
    let large = json!({"spec": {"models": [{"name": "smollm2-135m", "alias": "large", "tier": "Quality"}]}})
        .to_string();
    namespace.kubectl(&["patch", "modelbackend", "local", "--type=merge", "-p", &large]).unwrap();
    let spec =
        "  routing: {automatic: {fastBelowPercent: 5, qualityAbovePercent: 60}}\n  validation: {secrets: {}}";
    namespace.crucible("demo", "remote, local", spec).unwrap();
    namespace.wait_until_ready("demo");
    let forward = PortForward::start(&CLUSTER, &namespace.name, "service/demo", 8080).unwrap();
    let credentials = Credentials::of(&CLUSTER, &namespace.name, "demo").unwrap();
    let client = Client::authenticate(&forward.url(), &credentials).unwrap();
    eventually("the model in process is loaded", || {
        let question =
            json!({"model": "large", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]});
        client.post("/v1/chat/completions", &question).unwrap().status() == 200
    });
    assert_eq!(client.get("/v1/models/auto").unwrap(), 200);
    run_with_sdk(
        "automatic_openai.py",
        &forward.url(),
        client.token(),
        &[("SMALL", "small"), ("LARGE", "large")],
    );

    let heard = server.heard();
    assert!(heard.iter().any(|request| request.contains("[REDACTED:aws-access-key]")), "{heard:?}");
    assert!(!heard.iter().any(|request| request.contains(SECRET)));
    let metrics = metrics(&namespace).concat();
    assert!(metrics.contains("codecrucible_backend_answers_total{backend=\"remote\",outcome=\"short\"} 1"));
    assert!(metrics.contains(
        "codecrucible_secrets_found_total{action=\"redacted\",pattern=\"aws-access-key\",side=\"request\"} 1"
    ));
    what_it_answers_is_looked_through_too(&namespace, &client);
}

/// A town stands for a secret: that one a real model says, in pieces that it chooses.
fn what_it_answers_is_looked_through_too(namespace: &Namespace, client: &Client) {
    let answer = |path: &str, more: serde_json::Value| {
        let question = json!([{"role": "user", "content": "What is the capital of France?"}]);
        let mut body = json!({"model": "large", "temperature": 0});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body[if path.ends_with("responses") { "input" } else { "messages" }] = question;
        client.post(path, &body).unwrap().text().unwrap()
    };
    let chat = |stream| answer("/v1/chat/completions", json!({"max_tokens": 12, "stream": stream}));
    assert!(chat(false).contains("Paris"));
    let town = json!({"name": "town", "pattern": "of France is [A-Z][a-z]+"});
    let secrets = json!({"spec": {"validation": {"secrets": {"answers": "Enforce", "patterns": [town]}}}});
    namespace
        .kubectl(&["patch", "codecrucible", "demo", "--type=merge", "-p", &secrets.to_string()])
        .unwrap();
    eventually("no answer has it any more", || chat(false).contains("[REDACTED:town]"));
    let responses = answer("/v1/responses", json!({"max_output_tokens": 12, "stream": true}));
    for events in [chat(true), responses] {
        assert!(events.contains("[REDACTED:town]") && !events.contains("Paris"), "{events}");
    }
}
