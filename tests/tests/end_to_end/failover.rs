//! Two backends that serve one model: one of them is killed under load, and no client notices.

use crate::model_server::ModelServer;
use crate::sdk::run_with_sdk;
use crate::served::metrics;
use crate::support::{CLUSTER, Namespace, eventually};
use codecrucible_tests::client::{Client, Credentials};
use codecrucible_tests::port_forward::PortForward;
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

/// Clients that never stop asking.
const CLIENTS: usize = 8;
/// Requests before and after the loss of a backend.
const ENOUGH: usize = 500;

/// A service whose model two servers have, the first before the second.
fn service(near: &ModelServer, far: &ModelServer) -> Namespace<'static> {
    let namespace = Namespace::new("failover");
    for (name, server, priority) in [("near", near, 0), ("far", far, 1)] {
        let backend = json!({"apiVersion": "codecrucible.dev/v1alpha1", "kind": "ModelBackend", "metadata": {"name": name},
            "spec": {"type": "OpenAI", "url": format!("http://{}/v1", server.address), "models": [{"name": "coder"}],
                "priority": priority}});
        namespace.apply(&backend.to_string()).unwrap();
    }
    namespace.crucible("demo", "near, far", "").unwrap();
    namespace.wait_until_ready("demo");
    namespace
}

/// What several clients saw of a service.
#[derive(Default)]
struct Seen {
    requests: AtomicUsize,
    failures: AtomicUsize,
}

/// What the service's replica has asked of backends, by its own account.
fn attempts(namespace: &Namespace<'_>) -> usize {
    let metrics = metrics(namespace).join("\n");
    let counts = metrics.lines().filter(|line| line.starts_with("codecrucible_backend_answers_total{"));
    counts.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
}

fn ask(client: &Client) -> (u16, String) {
    let question = json!({"model": "coder", "messages": [{"role": "user", "content": "Well?"}]});
    let answer = client.post("/v1/chat/completions", &question).unwrap();
    let route = answer.headers().get("x-codecrucible-route").map(|route| route.to_str().unwrap().to_owned());
    let status = answer.status().as_u16();
    // Read, so that the connection is used again.
    answer.text().unwrap();
    (status, route.unwrap_or_default())
}

/// Ends the clients, also when a test fails: nobody could wait for them.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_backend_that_is_killed_under_load_is_missed_by_nobody_and_comes_back() {
    let (near, far) = (ModelServer::start(), ModelServer::start());
    let namespace = service(&near, &far);
    let forward = PortForward::start(&CLUSTER, &namespace.name, "service/demo", 8080).unwrap();
    let credentials = Credentials::of(&CLUSTER, &namespace.name, "demo").unwrap();
    let client = Client::authenticate(&forward.url(), &credentials).unwrap();
    assert_eq!(ask(&client), (200, "backend=near; attempts=1".to_owned()));

    let before = attempts(&namespace);
    let (seen, is_over, begin) = (Seen::default(), AtomicBool::new(false), Instant::now());
    let until = |count: usize| {
        let from = seen.requests.load(Ordering::Relaxed);
        eventually("further requests", || seen.requests.load(Ordering::Relaxed) >= from + count);
    };
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let (status, _) = ask(&client);
                    seen.requests.fetch_add(1, Ordering::Relaxed);
                    seen.failures.fetch_add(usize::from(status != 200), Ordering::Relaxed);
                }
            });
        }
        let _over = Over(&is_over);
        until(ENOUGH);
        near.kill();
        until(ENOUGH);
    });
    let (requests, failures) = (seen.requests.into_inner(), seen.failures.into_inner());
    let further = attempts(&namespace) - before - requests;
    println!(
        "a backend killed under load: {requests} requests, {failures} failures, {further} further attempts"
    );
    assert_eq!(failures, 0);
    // What the budget allows: a fifth more, ten, and one each second.
    let seconds = usize::try_from(begin.elapsed().as_secs()).unwrap();
    assert!((1..=requests / 5 + 10 + seconds).contains(&further), "{further} for {requests}");
    assert!(ask(&client).1.starts_with("backend=far"));

    near.start_anew();
    eventually("it is asked again", || ask(&client).1 == "backend=near; attempts=1");

    run_with_sdk("openai_endpoints.py", &forward.url(), client.token(), &[]);
}
