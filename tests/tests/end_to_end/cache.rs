//! Answers that are given again, while what is kept is changed by `kubectl patch`.

use crate::model_server::ModelServer;
use crate::sdk::run_with_sdk;
use crate::served::{metrics, select};
use crate::support::{CLUSTER, Namespace, eventually};
use codecrucible_tests::client::{Client, Credentials};
use codecrucible_tests::port_forward::PortForward;
use serde_json::json;

/// Requests that could each have been answered by the backend.
const MANY: usize = 20;

/// What a client is told of caches.
fn ask(client: &Client, content: &str) -> String {
    let question =
        json!({"model": "coder", "temperature": 0, "messages": [{"role": "user", "content": content}]});
    let answer = client.post("/v1/chat/completions", &question).unwrap();
    assert_eq!(answer.status(), 200);
    let told = answer.headers().get("cache-status").map(|told| told.to_str().unwrap().to_owned());
    // Read, so that the connection is used again.
    answer.text().unwrap();
    told.unwrap_or_default()
}

/// What the replica has asked of its backend, by its own account.
fn asked(namespace: &Namespace<'_>) -> usize {
    let metrics = metrics(namespace).join("\n");
    let count = metrics.lines().find(|line| line.starts_with("codecrucible_backend_answers_total{"));
    count.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[test]
fn a_cache_comes_and_begins_anew_by_patches_and_what_is_kept_no_backend_is_asked_for() {
    let (namespace, model) = (Namespace::new("cache"), ModelServer::start());
    let backend = json!({"apiVersion": "codecrucible.dev/v1alpha1", "kind": "ModelBackend", "metadata": {"name": "remote"},
        "spec": {"type": "OpenAI", "url": format!("http://{}/v1", model.address), "models": [{"name": "coder"}]}});
    namespace.apply(&backend.to_string()).unwrap();
    namespace.crucible("demo", "remote", "").unwrap();
    namespace.wait_until_ready("demo");
    let forward = PortForward::start(&CLUSTER, &namespace.name, "service/demo", 8080).unwrap();
    let client =
        Client::authenticate(&forward.url(), &Credentials::of(&CLUSTER, "cache", "demo").unwrap()).unwrap();
    assert_eq!(ask(&client, "Well?"), "", "nothing is kept that nobody wants to be");

    let rules =
        |epoch: u32| json!({"cache": {"rules": [{"name": "all", "requests": "All", "epoch": epoch}]}});
    select(&namespace, &rules(0));
    eventually("it is given again", || ask(&client, "Well?").starts_with("codecrucible; hit"));
    let before = asked(&namespace);
    assert!((0..MANY).all(|_| ask(&client, "Well?").starts_with("codecrucible; hit")));
    assert_eq!(asked(&namespace), before);
    println!("a cache: {MANY} of {MANY} from memory, the backend was asked for none");
    // What the official SDK reads is the same the second time.
    for _ in 0..2 {
        run_with_sdk("openai_endpoints.py", &forward.url(), client.token(), &[]);
    }

    select(&namespace, &rules(1));
    eventually("nothing from before is given", || ask(&client, "Well?") == "codecrucible; fwd=miss");
    assert!(ask(&client, "Well?").starts_with("codecrucible; hit"));

    select(&namespace, &json!({"cache": {"memory": "1Gi"}}));
    let message = namespace.wait_for("demo", "Accepted", "False/Invalid");
    assert!(message.contains("spec.cache.memory: must be at most half of"), "{message}");
    assert!(ask(&client, "Well?").starts_with("codecrucible; hit"), "what was in force goes on");
    select(&namespace, &json!({"cache": null}));
    eventually("nothing is kept any more", || ask(&client, "Well?").is_empty());
}
