//! A backend that is to have few requests at once: the others wait, some are refused, and all that is changed while they do.

use crate::model_server::ModelServer;
use crate::served::metrics;
use crate::support::{CLUSTER, Namespace, eventually};
use codecrucible_tests::client::{Client, Credentials};
use codecrucible_tests::port_forward::PortForward;
use serde_json::{Value, json};
use std::sync::mpsc;
use std::thread;

/// A stream that goes on until the model server is told to end it.
fn question() -> Value {
    json!({"model": "coder", "stream": true, "messages": [{"role": "user", "content": "Well?"}]})
}

fn bound(namespace: &Namespace<'_>, concurrency: &Value) {
    let patch = json!({"spec": {"concurrency": concurrency}}).to_string();
    namespace.kubectl(&["patch", "modelbackend", "remote", "--type=merge", "-p", &patch]).unwrap();
}

/// What the replica says of its only backend.
fn says(namespace: &Namespace<'_>, metric: &str, value: u32) -> bool {
    let urgency = if metric == "queued" { ",urgency=\"normal\"" } else { "" };
    let line = format!("codecrucible_backend_requests_{metric}{{backend=\"remote\"{urgency}}} {value}");
    metrics(namespace).iter().any(|page| page.lines().any(|said| said == line))
}

#[test]
fn a_backend_has_no_more_requests_than_it_is_to_have_and_more_room_is_for_those_who_wait() {
    let (namespace, model) = (Namespace::new("concurrency"), ModelServer::start());
    let backend = json!({"apiVersion": "codecrucible.dev/v1alpha1", "kind": "ModelBackend", "metadata": {"name": "remote"},
        "spec": {"type": "OpenAI", "url": format!("http://{}/v1", model.address), "models": [{"name": "coder"}],
            "concurrency": {"maxRequests": 2, "queue": {"maxRequests": 2, "timeout": "5m"}}}});
    namespace.apply(&backend.to_string()).unwrap();
    namespace.crucible("demo", "remote", "").unwrap();
    namespace.wait_until_ready("demo");
    let forward = PortForward::start(&CLUSTER, &namespace.name, "service/demo", 8080).unwrap();
    let credentials = Credentials::of(&CLUSTER, &namespace.name, "demo").unwrap();
    let client = Client::authenticate(&forward.url(), &credentials).unwrap();

    let (tell, ended) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..4 {
            let (client, tell) = (&client, tell.clone());
            scope.spawn(move || {
                let mut last = String::new();
                let read = client.post_events("/v1/chat/completions", &question(), |data| {
                    data.clone_into(&mut last);
                    true
                });
                tell.send(read.map(|()| last)).unwrap();
            });
        }
        // Whatever fails, the streams come to an end.
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually("two are answered, two wait", || {
                says(&namespace, "in_flight", 2) && says(&namespace, "queued", 2)
            });
            let refused = client.post("/v1/chat/completions", &question()).unwrap();
            let retry_after: u32 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
            let (status, error) = (refused.status().as_u16(), refused.text().unwrap());
            assert!(status == 503 && error.contains("\"overloaded\"") && retry_after > 0, "{status} {error}");

            bound(&namespace, &json!({"maxRequests": 3}));
            eventually("one more has room", || {
                says(&namespace, "limit", 3)
                    && says(&namespace, "in_flight", 3)
                    && says(&namespace, "queued", 1)
            });
            bound(&namespace, &Value::Null);
            eventually("all have room", || says(&namespace, "in_flight", 4));
        }));
        // Those that begin afterwards go on until they are told, too.
        for _ in 0..4 {
            model.end_streams();
            let last = ended.recv().unwrap();
            if seen.is_ok() {
                assert_eq!(last.unwrap(), "[DONE]");
            }
        }
        seen.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}
