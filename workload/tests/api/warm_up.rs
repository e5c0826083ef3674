//! Questions that a replica asks before anybody does.

use crate::cache::{ask, caching, counting, question, rule, until};
use crate::cache_layers::{ROOM, sharing};
use crate::limits::limit;
use crate::program::Program;
use crate::redis_server::RedisServer;
use crate::support::{Api, Backend, Folder, STREAM_HEAD, bundle, whole};
use codecrucible_contract::{Cache, CachedRoute, Clients, Policy, RegisteredClient, WarmUp, sha256_hex};
use codecrucible_workload::http::keep_warm;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

/// As whom tests ask.
const CLIENT: &str = "local";
/// Pauses that nobody has to wait for.
const SHORT: [Duration; 3] = [Duration::from_millis(1); 3];
static MANY: [Duration; 10_000] = [Duration::from_millis(1); 10_000];

fn asked(request: &Value) -> WarmUp {
    WarmUp {
        client: CLIENT.into(),
        route: CachedRoute::ChatCompletions,
        request: request.to_string(),
        headers: BTreeMap::new(),
    }
}

fn warming(policy: Policy, warm_up: Vec<WarmUp>) -> Policy {
    Policy { cache: policy.cache.map(|cache| Cache { warm_up, ..cache }), ..policy }
}

/// A replica that asks what is on its list.
async fn warm(policy: Policy) -> Api {
    warm_with(policy, &SHORT).await
}

async fn warm_with(policy: Policy, pauses: &'static [Duration]) -> Api {
    let api = Api::under(policy).await;
    let service = api.service.clone();
    tokio::spawn(async move { keep_warm(service, ready(()), pauses).await });
    api
}

fn is_told(api: &Api, outcome: &str, count: usize) -> bool {
    api.metrics().contains(&format!("codecrucible_cache_warm_up_total{{outcome=\"{outcome}\"}} {count}\n"))
}

/// Waits until so many questions came to something.
async fn until_told(api: &Api, outcome: &str, count: usize) {
    until(outcome, || is_told(api, outcome, count)).await;
}

#[tokio::test]
async fn whoever_asks_first_what_is_on_the_list_is_answered_without_a_backend() {
    let (backend, count) = counting().await;
    let list = vec![asked(&question("a")), asked(&question("b"))];
    let api = warm(warming(caching(&backend.url, rule()), list)).await;
    until_told(&api, "asked", 2).await;
    for content in ["a", "b"] {
        let (_, told) = ask(&api, &question(content)).await;
        assert!(told.starts_with("codecrucible; hit"), "{told}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 2);
    assert_eq!(
        api.service.served().read().requests,
        2,
        "what nobody waits for is not what clients are served"
    );
}

#[tokio::test]
async fn streams_vectors_and_messages_are_kept_as_their_clients_ask_for_them() {
    let heard = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&heard);
    let backend = Backend::doing(move |mut stream, request| {
        count.fetch_add(1, Ordering::SeqCst);
        let answer = if request.contains("\"stream\":true") {
            format!("{STREAM_HEAD}data: {{}}\n\ndata: [DONE]\n\n")
        } else if request.contains("/embeddings") {
            whole("200 OK", "application/json", "{}")
        } else {
            let choice = json!({"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"});
            whole("200 OK", "application/json", &json!({"choices": [choice]}).to_string())
        };
        async move {
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let mut streamed = question("a");
    streamed["stream"] = true.into();
    let vectors = json!({"model": "coder", "input": "a"});
    let message = json!({"model": "coder", "max_tokens": 9, "temperature": 0, "messages": [{"role": "user", "content": "a"}]});
    let headers = BTreeMap::from([("anthropic-version".to_owned(), "2026-10-21".to_owned())]);
    let list = vec![
        asked(&streamed),
        WarmUp { route: CachedRoute::Embeddings, ..asked(&vectors) },
        WarmUp { route: CachedRoute::Messages, headers, ..asked(&message) },
    ];
    let api = warm(warming(caching(&backend.url, rule()), list)).await;
    until_told(&api, "asked", 3).await;
    for (path, body) in [("chat/completions", &streamed), ("embeddings", &vectors), ("messages", &message)] {
        let request = api.http.post(format!("{}/v1/{path}", api.base)).bearer_auth(&api.token);
        let request = request.header("anthropic-version", "2026-10-21").body(body.to_string());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["x-codecrucible-route"], "cache=memory; attempts=0", "{path}");
    }
    assert_eq!(heard.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_new_policy_asks_only_what_is_not_kept_and_no_limit_counts_the_rest() {
    let (backend, count) = counting().await;
    let with = |list| {
        let mut policy = warming(caching(&backend.url, rule()), list);
        policy.limits.rules = vec![limit("two", 2)];
        policy
    };
    let api = warm(with(vec![asked(&question("a"))])).await;
    until_told(&api, "asked", 1).await;
    api.apply(with(vec![asked(&question("a")), asked(&question("b"))]));
    until_told(&api, "asked", 2).await;
    until_told(&api, "kept", 1).await;
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_new_replica_asks_nothing_that_is_in_redis_or_on_its_disk() {
    let ((backend, count), redis) = (counting().await, RedisServer::start(&[]));
    let with = |policy| warming(policy, vec![asked(&question("a"))]);
    let first = warm(with(sharing(&backend, &redis))).await;
    until_told(&first, "asked", 1).await;
    let line = "codecrucible_cache_written_below_memory_total{layer=\"redis\",outcome=\"kept\"} 1";
    until("it is in the store", || first.metrics().contains(line)).await;
    let second = warm(with(sharing(&backend, &redis))).await;
    until_told(&second, "kept", 1).await;
    assert_eq!(count.load(Ordering::SeqCst), 1);

    let folder = tempfile::tempdir().unwrap();
    let with_disk = async || {
        let api = Api::under(with(caching(&backend.url, rule()))).await;
        let (service, opening, place) = (api.service.clone(), api.service.clone(), folder.path().to_owned());
        let open = async move { opening.cache().open_disk(&place, ROOM).await };
        tokio::spawn(async move { keep_warm(service, open, &SHORT).await });
        api
    };
    let first = with_disk().await;
    until_told(&first, "asked", 1).await;
    first.service.settle().await;
    drop(first);
    until_told(&with_disk().await, "kept", 1).await;
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_fails_is_asked_again_until_it_is_answered_and_nothing_else_is() {
    let is_well = Arc::<AtomicBool>::default();
    let is_now_well = Arc::clone(&is_well);
    let backend = Backend::doing(move |mut stream, request| {
        let fails = request.contains("late") && !is_now_well.load(Ordering::SeqCst);
        let status = if fails { "500 Internal Server Error" } else { "200 OK" };
        async move {
            let _ = stream.write_all(whole(status, "application/json", "{}").as_bytes()).await;
        }
    })
    .await;
    let by_chance = json!({"model": "coder", "messages": [{"role": "user", "content": "a"}]});
    let wrong = json!({"model": "coder", "messages": "a"});
    let nobody = WarmUp { client: "team.nobody".into(), ..asked(&question("b")) };
    let list = vec![asked(&by_chance), asked(&wrong), nobody, asked(&question("late"))];
    let mut policy = warming(caching(&backend.url, rule()), list);
    policy.backends[0].circuit_breaker.minimum_requests = 1_000;
    let api = warm_with(policy, &MANY).await;
    until("it fails", || api.metrics().contains("outcome=\"failed\"")).await;
    is_well.store(true, Ordering::SeqCst);
    until_told(&api, "asked", 1).await;
    for outcome in ["unkept", "refused", "unknown_client"] {
        until_told(&api, outcome, 1).await;
    }
}

#[tokio::test]
async fn what_fails_holds_up_no_other_question_of_its_model() {
    let (backend, _) = counting().await;
    let list = ["fail", "a", "b"].map(|content| asked(&question(content)));
    let api = warm(warming(caching(&backend.url, rule()), list.into())).await;
    until_told(&api, "asked", 2).await;
}

#[tokio::test]
async fn what_fails_each_time_is_given_up() {
    let (backend, count) = counting().await;
    let api = warm(warming(caching(&backend.url, rule()), vec![asked(&question("fail"))])).await;
    until_told(&api, "failed", 1 + SHORT.len()).await;
    let asked_so_far = count.load(Ordering::SeqCst);
    assert!(asked_so_far > SHORT.len());
    let (answer, _) = ask(&api, &question("a")).await;
    assert_eq!(answer as usize, asked_so_far + 1, "nobody asked meanwhile");
}

#[tokio::test]
async fn a_stream_that_is_cut_is_not_told_of_as_kept() {
    let (backend, _) = counting().await;
    let mut cut = question("cut");
    cut["stream"] = true.into();
    let api = warm(warming(caching(&backend.url, rule()), vec![asked(&cut)])).await;
    until_told(&api, "unkept", 1).await;
    assert_eq!(api.service.served().read().failed, 0, "no client was served so");
}

#[tokio::test]
async fn a_client_that_comes_later_is_asked_for_then() {
    let (backend, _) = counting().await;
    let later = WarmUp { client: "team.app".into(), ..asked(&question("a")) };
    let api = warm(warming(caching(&backend.url, rule()), vec![later])).await;
    until_told(&api, "unknown_client", 1).await;
    let client = RegisteredClient { id: "team.app".into(), secret_sha256: sha256_hex("secret") };
    let registered = Clients::new([client]).unwrap();
    api.service.replace_clients(codecrucible_workload::identity::KnownClients::new(
        "local",
        "s",
        &registered,
    ));
    until_told(&api, "asked", 1).await;
}

#[tokio::test]
async fn a_clients_limits_hold_for_what_is_asked_for_it() {
    let (backend, count) = counting().await;
    let mut policy =
        warming(caching(&backend.url, rule()), vec![asked(&question("a")), asked(&question("b"))]);
    policy.limits.rules = vec![limit("one", 1)];
    let api = warm(policy).await;
    until_told(&api, "asked", 1).await;
    until_told(&api, "failed", 1 + SHORT.len()).await;
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_what_the_program_asks_itself_and_as_whom() {
    let (backend, _) = counting().await;
    let folder = Folder::new();
    folder.write_bundle(&bundle(warming(caching(&backend.url, rule()), vec![asked(&question("a"))])));
    let line = Program::start(&folder).says("request");
    assert_eq!((&line["cache"], &line["client"]), (&json!("warm_up"), &json!(CLIENT)), "{line}");
    assert_eq!(
        (&line["route"], &line["backend"]),
        (&json!("/v1/chat/completions"), &json!("remote")),
        "{line}"
    );
}

#[test]
fn a_list_is_a_part_of_a_bundle_and_none_is_not() {
    let with = |list| bundle(warming(caching("http://localhost:1/v1", rule()), list));
    assert!(with(vec![asked(&question("a"))]).contains("warmUp"));
    assert!(!with(Vec::new()).contains("warmUp"));
}
