//! Answers that are given again, over the wire.

use crate::limits::limit;
use crate::support::{Api, Backend, Folder, STREAM_HEAD, bundle, policy, refusal, whole};
use codecrucible_contract::{
    self as contract, Cache, CacheRule, CachedRequests, Clients, RegisteredClient, SharedBy, sha256_hex,
};
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Notify, mpsc};

/// A backend each of whose answers has the number of the request in it, and how many it had.
pub(super) async fn counting() -> (Backend, Arc<AtomicUsize>) {
    let asked = Arc::<AtomicUsize>::default();
    let heard = Arc::clone(&asked);
    let backend = Backend::doing(move |mut stream, request| {
        let number = heard.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            let answer = if request.contains("\"stream\":true") {
                let end = if request.contains("cut") { "" } else { "data: [DONE]\n\n" };
                format!("{STREAM_HEAD}data: {{\"number\":{number}}}\n\n{end}")
            } else if request.contains("fail") {
                whole("500 Internal Server Error", "application/json", "{}")
            } else {
                whole("200 OK", "application/json", &json!({"number": number}).to_string())
            };
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    (backend, asked)
}

pub(super) fn rule() -> CacheRule {
    CacheRule {
        name: "all".into(),
        routes: Vec::new(),
        models: Vec::new(),
        namespaces: Vec::new(),
        requests: CachedRequests::Deterministic,
        shared_by: SharedBy::Client,
        ttl_ms: 3_600_000,
        epoch: 0,
    }
}

pub(super) fn caching(url: &str, rule: CacheRule) -> contract::Policy {
    let cache = Some(Cache {
        memory_bytes: 1 << 20,
        shared: None,
        rules: vec![rule],
        warm_up: Vec::new(),
        namespace: "team".into(),
    });
    let mut policy = contract::Policy { cache, ..policy(url) };
    policy.backends[0].timeouts.first_byte_ms = 60_000;
    policy
}

/// A question that is answered alike each time.
pub(super) fn question(content: &str) -> Value {
    json!({"model": "coder", "temperature": 0, "messages": [{"role": "user", "content": content}]})
}

/// The number in the answer to a question, and what is told of caches.
pub(super) async fn ask(api: &Api, question: &Value) -> (u64, String) {
    ask_so(api, &api.token, question, "").await
}

async fn ask_so(api: &Api, token: &str, question: &Value, directives: &str) -> (u64, String) {
    let request = api.http.post(format!("{}/v1/chat/completions", api.base)).bearer_auth(token);
    let answer = request.header("cache-control", directives).body(question.to_string()).send().await.unwrap();
    let told = answer.headers().get("cache-status").map(|told| told.to_str().unwrap().to_owned());
    let document: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    (document["number"].as_u64().unwrap_or_default(), told.unwrap_or_default())
}

/// Waits for something that others bring about.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect(what);
}

pub(super) const MISS: &str = "codecrucible; fwd=miss";

#[tokio::test]
async fn the_same_question_is_answered_again_without_a_backend() {
    let (backend, asked) = counting().await;
    let api = Api::under(caching(&backend.url, rule())).await;
    assert_eq!(ask(&api, &question("a")).await, (1, MISS.into()));
    let again = api
        .post(
            "/v1/chat/completions",
            r#"{"messages":[{"content":"a","role":"user"}],"temperature":0,"model":"coder"}"#,
        )
        .await;
    let header = |name: &str| again.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(
        header("x-codecrucible-route"),
        "backend=remote; attempts=1",
        "within a message the order counts"
    );
    let again = json!({"temperature": 0, "messages": [{"role": "user", "content": "a"}], "model": "coder"});
    let again = api.post("/v1/chat/completions", again.to_string()).await;
    let header = |name: &str| again.headers()[name].to_str().unwrap().to_owned();
    assert!(header("cache-status").starts_with("codecrucible; hit; ttl=35"), "{}", header("cache-status"));
    assert_eq!((header("age"), header("content-type")), ("0".into(), "application/json".into()));
    assert_eq!(header("x-codecrucible-route"), "cache=memory; attempts=0");
    assert_eq!(again.text().await.unwrap(), "{\"number\":1}");
    assert_eq!(ask(&api, &question("b")).await, (3, MISS.into()));
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    let metrics = api.metrics();
    for line in [
        "codecrucible_cache_answers_total{outcome=\"hit\",rule=\"all\"} 1",
        "codecrucible_cache_answers_total{outcome=\"miss\",rule=\"all\"} 3",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn what_may_be_answered_otherwise_is_asked_again_unless_all_is_to_be_kept() {
    let (backend, _) = counting().await;
    let warm = json!({"model": "coder", "temperature": 0.5, "messages": [{"role": "user", "content": "a"}]});
    let api = Api::under(caching(&backend.url, rule())).await;
    assert_eq!((ask(&api, &warm).await, ask(&api, &warm).await), ((1, "".into()), (2, "".into())));
    let seeded = json!({"model": "coder", "seed": 7, "messages": [{"role": "user", "content": "a"}]});
    assert_eq!((ask(&api, &seeded).await.0, ask(&api, &seeded).await.0), (3, 3));
    api.apply(caching(&backend.url, CacheRule { requests: CachedRequests::All, ..rule() }));
    assert_eq!((ask(&api, &warm).await.0, ask(&api, &warm).await.0), (4, 4));
}

#[tokio::test]
async fn a_client_may_say_what_it_wants_of_the_cache() {
    let (backend, asked) = counting().await;
    let api = Api::under(caching(&backend.url, rule())).await;
    let so = async |directives| ask_so(&api, &api.token, &question("a"), directives).await;
    let absent = || {
        let request = api.http.post(format!("{}/v1/chat/completions", api.base)).bearer_auth(&api.token);
        request.header("cache-control", "only-if-cached").body(question("a").to_string()).send()
    };
    let (status, code, _) = refusal(absent().await.unwrap()).await;
    assert_eq!((status, code.as_str(), asked.load(Ordering::SeqCst)), (504, "not_cached", 0));
    assert_eq!(so("no-store").await, (1, "".into()));
    assert_eq!(so("").await, (2, MISS.into()), "what was not to be stored is not there");
    assert_eq!(absent().await.unwrap().status(), 200);
    assert_eq!(so("no-cache").await, (3, "codecrucible; fwd=request".into()));
    assert_eq!(so("max-age=60").await.0, 3, "and what came is kept");
    assert_eq!(so("max-age=0").await, (4, "codecrucible; fwd=request".into()));
    assert_eq!(api.service.served().read().failed, 0, "whoever wants what is not there is not served badly");
}

#[tokio::test]
async fn where_nothing_is_to_be_kept_nothing_is_and_who_wants_only_that_is_told() {
    let (backend, asked) = counting().await;
    let api = Api::under(policy(&backend.url)).await;
    let request = api.http.post(format!("{}/v1/chat/completions", api.base)).bearer_auth(&api.token);
    let request = request.header("cache-control", "only-if-cached").body(question("a").to_string());
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["x-should-retry"], "false");
    assert_eq!((refusal(answer).await.1, asked.load(Ordering::SeqCst)), ("not_cached".into(), 0));
}

#[tokio::test]
async fn of_many_who_ask_the_same_at_once_one_asks_the_backend() {
    const MANY: usize = 8;
    let (is_asked, mut asked) = mpsc::unbounded_channel();
    let released = Arc::new(Notify::new());
    let release = Arc::clone(&released);
    let backend = Backend::doing(move |mut stream, _| {
        let (is_asked, released) = (is_asked.clone(), Arc::clone(&released));
        async move {
            is_asked.send(()).unwrap();
            released.notified().await;
            let _ = stream.write_all(whole("200 OK", "application/json", "{\"number\":1}").as_bytes()).await;
        }
    })
    .await;
    let api = Api::under(caching(&backend.url, rule())).await;
    let in_flight = api.service.metrics().requests_in_flight.clone();
    let question = question("a");
    let all = futures::future::join_all((0..MANY).map(|_| ask(&api, &question)));
    let (answers, ()) = tokio::join!(all, async {
        asked.recv().await.unwrap();
        until("all wait", || in_flight.get() == MANY as i64).await;
        release.notify_waiters();
    });
    // Whoever came late finds the answer kept.
    let is_spared = |told: &str| told.ends_with("collapsed") || told.contains("hit");
    let spared = answers.iter().filter(|(_, told)| is_spared(told)).count();
    assert_eq!((answers.iter().filter(|(number, _)| *number == 1).count(), spared), (MANY, MANY - 1));
    assert!(answers.iter().any(|(_, told)| told.ends_with("collapsed")), "{answers:?}");
    assert!(asked.try_recv().is_err(), "nobody else asked");
}

#[tokio::test]
async fn where_the_one_who_asks_leaves_another_one_does() {
    let (is_asked, mut asked) = mpsc::unbounded_channel();
    let backend = Backend::doing(move |mut stream, _| {
        let is_asked = is_asked.clone();
        let (release, released) = tokio::sync::oneshot::channel();
        async move {
            is_asked.send(release).unwrap();
            if released.await.is_ok() {
                let _ =
                    stream.write_all(whole("200 OK", "application/json", "{\"number\":1}").as_bytes()).await;
            }
        }
    })
    .await;
    let api = Arc::new(Api::under(caching(&backend.url, rule())).await);
    let first = {
        let api = Arc::clone(&api);
        tokio::spawn(async move { ask(&api, &question("a")).await })
    };
    let never_answered = asked.recv().await.unwrap();
    let in_flight = api.service.metrics().requests_in_flight.clone();
    let question = question("a");
    let (second, ()) = tokio::join!(ask(&api, &question), async {
        until("the second one is there", || in_flight.get() == 2).await;
        first.abort();
        asked.recv().await.unwrap().send(()).unwrap();
    });
    assert_eq!(second, (1, MISS.into()));
    drop(never_answered);
}

#[tokio::test]
async fn failures_are_nobody_elses() {
    let (backend, asked) = counting().await;
    let api = Api::under(caching(&backend.url, rule())).await;
    let fail = async || api.post("/v1/chat/completions", question("fail").to_string()).await.status();
    assert_eq!((fail().await, fail().await), (StatusCode::BAD_GATEWAY, StatusCode::BAD_GATEWAY));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let together = tokio::join!(fail(), fail());
    assert_eq!(together, (StatusCode::BAD_GATEWAY, StatusCode::BAD_GATEWAY));
}

#[tokio::test]
async fn an_error_that_looks_like_an_answer_is_not_kept() {
    let documents = [
        whole("200 OK", "application/json", r#"{"error":{"message":"overloaded"}}"#),
        whole("200 OK", "application/json", r#"{"choices":["#),
        format!("{STREAM_HEAD}data: {{\"error\":{{}}}}\n\ndata: [DONE]\n\n"),
    ];
    for answer in documents {
        let backend = Backend::saying(answer.clone()).await;
        let api = Api::under(caching(&backend.url, rule())).await;
        let mut question = question("a");
        question["stream"] = answer.contains("event-stream").into();
        for _ in 0..2 {
            let told = api.post("/v1/chat/completions", question.to_string()).await;
            assert_eq!(told.headers()["cache-status"], MISS, "{answer}");
            told.bytes().await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_given_again_is_of_the_kind_that_it_was() {
    let backend = Backend::saying(whole("200 OK", "application/json", "{}")).await;
    let api = Api::under(caching(&backend.url, rule())).await;
    let mut question = question("a");
    question["stream"] = true.into();
    for is_hit in [false, true] {
        let answer = api.post("/v1/chat/completions", question.to_string()).await;
        assert_eq!(answer.headers()["cache-status"] != MISS, is_hit);
        assert_eq!(answer.headers()["content-type"], "application/json");
    }
}

#[tokio::test]
async fn what_another_backend_answered_in_need_is_not_kept() {
    let (fallback, asked) = counting().await;
    let mut policy = caching("http://127.0.0.1:9/v1", rule());
    let mut second = policy.backends[0].clone();
    second.name = "second".into();
    second.priority = 1;
    second.kind = contract::BackendKind::Remote(contract::Remote {
        url: fallback.url.clone(),
        has_credential: false,
        protocol: contract::Protocol::OpenAi,
    });
    policy.backends.push(second);
    let api = Api::under(policy).await;
    assert_eq!((ask(&api, &question("a")).await.0, ask(&api, &question("a")).await.0), (1, 2));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_shorter_life_is_one_for_what_is_kept_too() {
    let (backend, _) = counting().await;
    let api = Api::under(caching(&backend.url, rule())).await;
    assert_eq!(ask(&api, &question("a")).await.0, 1);
    api.apply(caching(&backend.url, CacheRule { ttl_ms: 1_000, ..rule() }));
    let told = ask(&api, &question("a")).await;
    assert!(told.1 == "codecrucible; hit; ttl=0" || told.0 == 2, "{told:?}");
}

#[tokio::test]
async fn what_is_given_again_costs_no_tokens() {
    let (backend, _) = counting().await;
    let limit = contract::Limit { unit: contract::Unit::Tokens, ..limit("tokens", 100_000) };
    let limits = contract::Limits { rules: vec![limit], ..contract::Limits::default() };
    let api = Api::under(contract::Policy { limits, ..caching(&backend.url, rule()) }).await;
    let standing = async || {
        let answer = api.post("/v1/chat/completions", question("a").to_string()).await;
        answer.headers()["ratelimit"].to_str().unwrap().to_owned()
    };
    standing().await;
    let rest = |standing: String| standing.split(";t=").next().unwrap().to_owned();
    assert_eq!(rest(standing().await), rest(standing().await));
}

#[tokio::test]
async fn a_stream_is_given_again_as_it_was_and_one_that_was_cut_is_not() {
    let (backend, _) = counting().await;
    let api = Api::under(caching(&backend.url, rule())).await;
    let stream = async |content: &str| {
        let mut question = question(content);
        question["stream"] = true.into();
        let answer = api.post("/v1/chat/completions", question.to_string()).await;
        let told = answer.headers()["cache-status"].to_str().unwrap().to_owned();
        (told.contains("hit"), answer.headers()["content-type"].clone(), answer.text().await.unwrap())
    };
    let first = stream("a").await;
    assert_eq!((first.0, &*first.2), (false, "data: {\"number\":1}\n\ndata: [DONE]\n\n"));
    // It is kept in a task of its own.
    tokio::time::timeout(Duration::from_secs(20), async {
        while api.metrics().contains("codecrucible_cache_kept_answers 0") {
            api.service.cache().measure().await;
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it is kept");
    let again = stream("a").await;
    assert_eq!((again.0, again.1, again.2), (true, first.1, first.2));
    let cut = stream("cut").await;
    assert!(!cut.2.contains("[DONE]"), "{}", cut.2);
    assert!(!stream("cut").await.0);
}

#[tokio::test]
async fn a_client_is_given_nothing_of_another_one_unless_its_namespace_shares() {
    let (backend, _) = counting().await;
    let client = |id: &str| RegisteredClient { id: id.into(), secret_sha256: sha256_hex(id) };
    let folder = Folder::new();
    folder.write_bundle(&bundle(caching(&backend.url, rule())));
    folder.write_clients(&Clients::new(["apps.a", "apps.b", "other.c"].map(client)).unwrap().to_json());
    let api = Api::of(folder).await;
    let token = |id| api.service.issue_token(id, std::time::SystemTime::now()).unwrap().token;
    let (a, b, c) = (token("apps.a"), token("apps.b"), token("other.c"));
    let number = async |token: &str| ask_so(&api, token, &question("a"), "").await.0;
    assert_eq!((number(&a).await, number(&a).await, number(&b).await), (1, 1, 2));
    api.apply(caching(&backend.url, CacheRule { shared_by: SharedBy::Namespace, ..rule() }));
    assert_eq!((number(&a).await, number(&b).await, number(&c).await), (3, 3, 4));
}

#[tokio::test]
async fn a_policy_that_changes_what_answers_means_gives_none_from_before() {
    let (backend, _) = counting().await;
    let api = Api::under(caching(&backend.url, rule())).await;
    let number = async || ask(&api, &question("a")).await.0;
    assert_eq!((number().await, number().await), (1, 1));
    api.apply(caching(&backend.url, CacheRule { ttl_ms: 7_200_000, ..rule() }));
    assert_eq!(number().await, 1, "what is kept stays");
    api.apply(caching(&backend.url, CacheRule { epoch: 1, ..rule() }));
    assert_eq!((number().await, number().await), (2, 2));
    let (other, _) = counting().await;
    api.apply(caching(&other.url, CacheRule { epoch: 1, ..rule() }));
    assert_eq!(number().await, 1, "another backend is another answer");
    api.apply(policy(&other.url));
    assert_eq!(number().await, 2, "nothing is kept any more");
    api.apply(caching(&other.url, CacheRule { epoch: 1, ..rule() }));
    assert_eq!(number().await, 3, "nor comes back");
}
