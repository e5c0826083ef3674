//! Answers that are given again, while what is kept is changed by `kubectl patch`, programs begin again and pods are replaced.

use crate::model_server::ModelServer;
use crate::redis_server::{PASSWORD, RedisServer};
use crate::sdk::run_with_sdk;
use crate::served::{metrics, select};
use crate::support::{CLUSTER, Namespace, eventually};
use codecrucible_tests::client::{Client, Credentials};
use codecrucible_tests::port_forward::PortForward;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// Requests that could each have been answered by the backend.
const MANY: usize = 20;

/// A header of an answer; nothing where it has none.
fn header(client: &Client, content: &str, name: &str) -> String {
    let question =
        json!({"model": "coder", "temperature": 0, "messages": [{"role": "user", "content": content}]});
    let answer = client.post("/v1/chat/completions", &question).unwrap();
    assert_eq!(answer.status(), 200);
    let told = answer.headers().get(name).map(|told| told.to_str().unwrap().to_owned());
    // Read, so that the connection is used again.
    answer.text().unwrap();
    told.unwrap_or_default()
}

/// What a client is told of caches.
fn ask(client: &Client, content: &str) -> String {
    header(client, content, "cache-status")
}

/// Which layer gave the answer, or which backend did.
fn way(client: &Client, content: &str) -> String {
    header(client, content, "x-codecrucible-route")
}

/// A backend of the namespace.
fn add_backend(namespace: &Namespace<'_>, model: &ModelServer) {
    let backend = json!({"apiVersion": "codecrucible.dev/v1alpha1", "kind": "ModelBackend", "metadata": {"name": "remote"},
        "spec": {"type": "OpenAI", "url": format!("http://{}/v1", model.address), "models": [{"name": "coder"}]}});
    namespace.apply(&backend.to_string()).unwrap();
}

/// What the replica has asked of its backend, by its own account.
fn asked(namespace: &Namespace<'_>) -> usize {
    let metrics = metrics(namespace).join("\n");
    let counts = metrics.lines().filter(|line| line.starts_with("codecrucible_backend_answers_total{"));
    counts.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
}

#[test]
fn a_cache_comes_and_begins_anew_by_patches_and_what_is_kept_no_backend_is_asked_for() {
    let (namespace, model) = (Namespace::new("cache"), ModelServer::start());
    add_backend(&namespace, &model);
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
    assert!(before > 0);
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

/// The processes of a pod: each has its name.
fn processes(pod: &str) -> Vec<Pid> {
    let name = format!("HOSTNAME={pod}\0");
    let is_of_pod = |process: &i32| {
        let environment = std::fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        environment.windows(name.len()).any(|window| window == name.as_bytes())
    };
    let all = std::fs::read_dir("/proc").unwrap();
    let all = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(is_of_pod).map(Pid::from_raw).collect()
}

/// The only pod, once it is the only one and ready.
fn only_pod(namespace: &Namespace<'_>) -> String {
    let mut found = String::new();
    eventually("one pod is ready", || {
        let pods = namespace.kubectl(&["get", "pods", "-o", "json"]).unwrap_or_default();
        let pods: serde_json::Value = serde_json::from_str(&pods).unwrap_or_default();
        let [pod] = &pods["items"].as_array().cloned().unwrap_or_default()[..] else { return false };
        found = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        pod["status"]["containerStatuses"][0]["ready"] == true
    });
    found
}

/// How often the pod's program has begun again.
fn restarts(namespace: &Namespace<'_>, pod: &str) -> u64 {
    let pod = namespace.get(&format!("pod/{pod}")).unwrap_or_default();
    pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or_default()
}

#[test]
fn a_program_that_begins_again_finds_answers_on_its_disk_and_a_new_pod_in_redis() {
    let (namespace, model, redis) = (Namespace::new("kept"), ModelServer::start(), RedisServer::start());
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "answers"}, "stringData": {"password": PASSWORD}});
    add_backend(&namespace, &model);
    namespace.apply(&secret.to_string()).unwrap();
    let store = json!({"url": format!("redis://{}", redis.address), "passwordSecretRef": {"name": "answers", "key": "password"}});
    let cache = json!({"disk": "64Mi", "redis": store, "rules": [{"name": "all"}]});
    namespace.crucible("demo", "remote", "  maintenance: {paused: true}").unwrap();
    // This node knows nothing of its disk, and so has none to give.
    let resources = json!({"requests": {"ephemeral-storage": "0"}});
    select(&namespace, &json!({"cache": cache, "resources": resources, "maintenance": null}));
    namespace.wait_until_ready("demo");
    let credentials = Credentials::of(&CLUSTER, "kept", "demo").unwrap();
    let reach = |pod: &str| {
        let forward = PortForward::start(&CLUSTER, &namespace.name, &format!("pod/{pod}"), 8080).unwrap();
        let client = Client::authenticate(&forward.url(), &credentials).unwrap();
        (forward, client)
    };
    let is_told = |line: &str| metrics(&namespace).iter().any(|metrics| metrics.contains(line));
    let are_ready = || {
        eventually("disk and Redis are ready", || {
            ["disk", "redis"]
                .iter()
                .all(|layer| is_told(&format!("codecrucible_cache_layer_ready{{layer=\"{layer}\"}} 1")))
        });
    };
    are_ready();

    let pod = only_pod(&namespace);
    let (forward, client) = reach(&pod);
    assert_eq!(way(&client, "Well?"), "backend=remote; attempts=1");
    assert_eq!(way(&client, "Well?"), "cache=memory; attempts=0");
    let kept = "codecrucible_cache_written_below_memory_total{layer=\"redis\",outcome=\"kept\"} 1";
    eventually("it is in Redis", || is_told(kept));

    // It is asked to end, and its container begins again.
    processes(&pod).into_iter().for_each(|process| kill(process, Signal::SIGTERM).unwrap());
    eventually("the program begins again", || restarts(&namespace, &pod) == 1);
    drop(forward);
    assert_eq!(only_pod(&namespace), pod);
    are_ready();
    let (_forward, client) = reach(&pod);
    assert_eq!(way(&client, "Well?"), "cache=disk; attempts=0");

    namespace.kubectl(&["delete", "pod", &pod]).unwrap();
    let new = only_pod(&namespace);
    assert_ne!(new, pod);
    are_ready();
    let (_forward, client) = reach(&new);
    assert_eq!(way(&client, "Well?"), "cache=redis; attempts=0");
    assert_eq!(way(&client, "Well?"), "cache=memory; attempts=0");
    println!("an answer: from the disk after the program began again, from Redis in a new pod");
}

/// What official SDKs ask in the scripts of `tests/sdk`, as they write it.
fn warm_up_list(model: &str) -> Value {
    let said = r#""messages":[{"role":"user","content":"Well?"}]"#;
    let so = |route: &str, fields: &str| {
        let request = format!(r#"{{"model":"{model}",{fields}}}"#);
        json!({"client": "demo", "route": route, "request": request})
    };
    let mut message = so("Messages", &format!(r#""max_tokens":16,{said}"#));
    message["headers"] = json!({"anthropic-version": "2026-10-21"});
    let vectors = so("Embeddings", r#""encoding_format":"base64","input":["Well?"]"#);
    json!({"cache": {"rules": [{"name": "all", "requests": "All"}], "warmUp": [so("ChatCompletions", said), vectors, message]}})
}

#[test]
fn what_is_on_the_list_a_new_pod_asks_before_anybody_does() {
    let (namespace, model) = (Namespace::new("warm"), ModelServer::start());
    add_backend(&namespace, &model);
    namespace.crucible("demo", "remote", "").unwrap();
    namespace.wait_until_ready("demo");
    select(&namespace, &warm_up_list("nobody"));
    let message = namespace.wait_for("demo", "Accepted", "False/Invalid");
    assert!(message.contains("spec.cache.warmUp[0].request: no backend has a model \"nobody\""), "{message}");
    select(&namespace, &warm_up_list("coder"));
    let credentials = Credentials::of(&CLUSTER, &namespace.name, "demo").unwrap();
    let asks_and_keeps = |pod: &str| {
        let line = "codecrucible_cache_warm_up_total{outcome=\"asked\"} 3";
        eventually("it is asked", || metrics(&namespace).iter().any(|metrics| metrics.contains(line)));
        let forward = PortForward::start(&CLUSTER, &namespace.name, &format!("pod/{pod}"), 8080).unwrap();
        let client = Client::authenticate(&forward.url(), &credentials).unwrap();
        let before = asked(&namespace);
        for script in ["warm_up_openai.py", "warm_up_anthropic.py"] {
            run_with_sdk(script, &forward.url(), client.token(), &[]);
        }
        assert_eq!(asked(&namespace), before, "clients are answered from memory");
    };
    let pod = only_pod(&namespace);
    asks_and_keeps(&pod);
    namespace.kubectl(&["delete", "pod", &pod]).unwrap();
    asks_and_keeps(&only_pod(&namespace));
    println!(
        "a warm-up list: asked after a patch and by a new pod, whose first clients were answered from memory"
    );
}
