//! Answers that outlive the memory in which they were kept: on a disk, and in a real Redis that replicas share.

use crate::cache::{MISS, ask, caching, counting, question, rule, until};
use crate::redis_server::RedisServer;
use crate::support::{Api, Backend};
use codecrucible_contract::{Cache, Policy, SharedAnswers, Store};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Room on a disk, bytes.
pub(super) const ROOM: usize = 64 << 20;
const READY: &str = "codecrucible_cache_layer_ready{layer=\"redis\"}";

pub(super) fn sharing(backend: &Backend, redis: &RedisServer) -> Policy {
    with_store(backend, redis, false)
}

fn with_store(backend: &Backend, redis: &RedisServer, is_cluster: bool) -> Policy {
    let policy = caching(&backend.url, rule());
    let store = Store { url: redis.url(), username: None, has_credential: false, is_cluster };
    let shared = Some(SharedAnswers { store, scope: "team/demo".into() });
    Policy { cache: policy.cache.map(|cache| Cache { shared, ..cache }), ..policy }
}

/// A replica that is connected with the others.
async fn replica(policy: Policy) -> Api {
    let api = Api::under(policy).await;
    until_ready(&api, true).await;
    api
}

async fn until_ready(api: &Api, is_ready: bool) {
    let line = format!("{READY} {}", u8::from(is_ready));
    until("the store answers, or does not", || api.metrics().contains(&line)).await;
}

/// Waits until so many answers are in the store, whichever replica sent them.
async fn until_shared(api: &Api, count: usize) {
    let line =
        format!("codecrucible_cache_written_below_memory_total{{layer=\"redis\",outcome=\"kept\"}} {count}");
    until("it is in the store", || api.metrics().contains(&line)).await;
}

/// A replica with a disk of its own.
async fn with_disk(policy: Policy, folder: &Path) -> Api {
    let api = Api::under(policy).await;
    api.service.cache().open_disk(folder, ROOM).await;
    api
}

/// Where the answer to a question came from, and what it is.
async fn asked_for(api: &Api, question: &Value) -> (String, String) {
    let answer = api.post("/v1/chat/completions", question.to_string()).await;
    let route = answer.headers()["x-codecrucible-route"].to_str().unwrap().to_owned();
    (route, answer.text().await.unwrap())
}

fn streamed(content: &str) -> Value {
    let mut question = question(content);
    question["stream"] = json!(true);
    question
}

#[tokio::test]
async fn what_one_replica_was_answered_no_other_one_asks_for() {
    let (redis, (backend, asked)) = (RedisServer::start(&[]), counting().await);
    let policy = || sharing(&backend, &redis);
    let (one, other) = (replica(policy()).await, replica(policy()).await);
    let streamed = streamed("b");
    let (_, document) = asked_for(&one, &question("a")).await;
    let (_, events) = asked_for(&one, &streamed).await;
    until_shared(&one, 2).await;
    for (question, answer) in [(question("a"), document), (streamed, events)] {
        let found = asked_for(&other, &question).await;
        assert_eq!(found, ("cache=redis; attempts=0".into(), answer.clone()));
        assert_eq!(asked_for(&other, &question).await, ("cache=memory; attempts=0".into(), answer));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert!(
        other
            .metrics()
            .contains("codecrucible_cache_below_memory_seconds_count{layer=\"redis\",outcome=\"hit\"} 2")
    );
}

#[tokio::test]
async fn many_who_ask_at_once_for_what_is_shared_have_it_looked_for_once() {
    let (redis, (backend, asked)) = (RedisServer::start(&[]), counting().await);
    let policy = || sharing(&backend, &redis);
    let (one, other) = (replica(policy()).await, replica(policy()).await);
    ask(&one, &question("a")).await;
    until_shared(&one, 1).await;
    let question = question("a");
    let all = futures::future::join_all((0..20).map(|_| ask(&other, &question))).await;
    assert!(all.iter().all(|(number, told)| *number == 1 && told.contains("hit")), "{all:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert!(
        other
            .metrics()
            .contains("codecrucible_cache_below_memory_seconds_count{layer=\"redis\",outcome=\"hit\"} 1")
    );
}

#[tokio::test]
async fn a_redis_that_is_gone_costs_nobody_an_answer_and_is_used_again_when_it_is_back() {
    let (mut redis, (backend, _)) = (RedisServer::start(&[]), counting().await);
    let policy = sharing(&backend, &redis);
    let api = replica(policy).await;
    assert_eq!(ask(&api, &question("a")).await, (1, MISS.into()));
    until_shared(&api, 1).await;
    redis.kill();
    until_ready(&api, false).await;
    let (number, told) = ask(&api, &question("a")).await;
    assert!(number == 1 && told.starts_with("codecrucible; hit"), "memory goes on: {told}");
    assert_eq!(ask(&api, &question("b")).await, (2, MISS.into()));
    assert!(api.metrics().contains("layer=\"redis\",outcome=\"dropped\"} 1"));
    redis.start_anew();
    until_ready(&api, true).await;
    assert_eq!(ask(&api, &question("c")).await, (3, MISS.into()));
    until_shared(&api, 2).await;
}

#[tokio::test]
async fn a_cluster_has_answers_on_all_of_its_nodes() {
    let (nodes, (backend, asked)) = (RedisServer::cluster(), counting().await);
    let one = replica(with_store(&backend, &nodes[0], true)).await;
    let other = replica(with_store(&backend, &nodes[1], true)).await;
    let questions: Vec<_> = (0..20).map(|number| question(&number.to_string())).collect();
    for question in &questions {
        ask(&one, question).await;
    }
    until_shared(&one, questions.len()).await;
    for question in &questions {
        assert_eq!(asked_for(&other, question).await.0, "cache=redis; attempts=0");
    }
    assert_eq!(asked.load(Ordering::SeqCst), questions.len());
}

#[tokio::test]
async fn a_fresh_answer_takes_the_place_of_the_shared_one() {
    let (redis, (backend, _)) = (RedisServer::start(&[]), counting().await);
    let policy = || sharing(&backend, &redis);
    let (one, other) = (replica(policy()).await, replica(policy()).await);
    ask(&one, &question("a")).await;
    until_shared(&one, 1).await;
    let request = one.http.post(format!("{}/v1/chat/completions", one.base)).bearer_auth(&one.token);
    let request = request.header("cache-control", "no-cache").body(question("a").to_string());
    assert_eq!(request.send().await.unwrap().text().await.unwrap(), "{\"number\":2}");
    until_shared(&one, 2).await;
    assert_eq!(ask(&other, &question("a")).await.0, 2);
}

#[tokio::test]
async fn a_disk_keeps_answers_for_the_next_process() {
    let (folder, (backend, asked)) = (tempfile::tempdir().unwrap(), counting().await);
    let policy = || caching(&backend.url, rule());
    let before = with_disk(policy(), folder.path()).await;
    assert_eq!(ask(&before, &question("a")).await, (1, MISS.into()));
    before.service.settle().await;
    before.stop();
    drop(before);
    let after = with_disk(policy(), folder.path()).await;
    let answer = r#"{"number":1}"#.to_owned();
    assert_eq!(asked_for(&after, &question("a")).await, ("cache=disk; attempts=0".into(), answer));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_memory_has_no_room_for_is_found_on_the_disk() {
    let (folder, (backend, asked)) = (tempfile::tempdir().unwrap(), large().await);
    let api = with_disk(caching(&backend.url, rule()), folder.path()).await;
    // Each takes more than half of the memory.
    let questions = ["a", "b", "c"].map(question);
    for question in &questions {
        ask(&api, question).await;
    }
    // What is too much goes late.
    api.service.cache().measure().await;
    let mut routes = Vec::new();
    for question in &questions {
        routes.push(asked_for(&api, question).await.0);
    }
    let on_disk = routes.iter().filter(|route| *route == "cache=disk; attempts=0").count();
    assert!(on_disk >= 2, "{routes:?}");
    assert_eq!(asked.load(Ordering::SeqCst), questions.len());
}

/// A backend with long answers, and how many it gave.
async fn large() -> (Backend, Arc<AtomicUsize>) {
    use tokio::io::AsyncWriteExt as _;
    let asked = Arc::<AtomicUsize>::default();
    let heard = Arc::clone(&asked);
    let text = json!({"text": "x".repeat(600 << 10)}).to_string();
    let answer = crate::support::whole("200 OK", "application/json", &text);
    let backend = Backend::doing(move |mut stream, _| {
        heard.fetch_add(1, Ordering::SeqCst);
        let answer = answer.clone();
        async move {
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    (backend, asked)
}
