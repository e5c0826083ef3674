//! How much clients may ask for, and what they are told of it.

use crate::support::{Api, Backend, STREAM_HEAD, policy, refusal, whole};
use codecrucible_contract as contract;
use contract::{Algorithm, Limit, LimitedRoute, Subject, Unit, WithoutStore};
use serde_json::json;

const ANSWER: &str = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#;

/// Of requests of each client.
pub fn limit(name: &str, count: u64) -> Limit {
    Limit {
        name: name.into(),
        routes: Vec::new(),
        models: Vec::new(),
        namespaces: Vec::new(),
        except_namespaces: Vec::new(),
        per: Subject::Client,
        unit: Unit::Requests,
        // Of which none comes back while a test runs.
        algorithm: Algorithm::TokenBucket,
        limit: 1,
        window_ms: contract::MAX_WINDOW_MS,
        burst: count,
        is_shadow: false,
        without_store: WithoutStore::Local,
    }
}

fn limited(backend: &Backend, rules: Vec<Limit>) -> contract::Policy {
    let limits = contract::Limits { rules, ..contract::Limits::default() };
    contract::Policy { limits, ..policy(&backend.url) }
}

async fn answering() -> Backend {
    Backend::saying(whole("200 OK", "application/json", ANSWER)).await
}

fn header(response: &reqwest::Response, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

/// What is left of the only limit.
fn remaining(response: &reqwest::Response) -> u64 {
    let standing = header(response, "ratelimit");
    let rest = standing.split_once(";r=").unwrap_or_else(|| panic!("{standing:?}")).1;
    rest.split(';').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_client_is_told_how_it_stands_and_refused_when_nothing_is_left() {
    let backend = answering().await;
    let api = Api::under(limited(&backend, vec![limit("daily", 2)])).await;
    let first = api.chat(false).await;
    assert_eq!(first.status().as_u16(), 200);
    assert_eq!(header(&first, "ratelimit-policy"), r#""daily";q=1;w=2592000"#);
    assert_eq!(header(&first, "ratelimit"), r#""daily";r=1;t=2592000"#);
    assert_eq!(api.chat(false).await.status().as_u16(), 200);
    let third = api.chat(false).await;
    let wait: u64 = header(&third, "retry-after").parse().unwrap();
    assert!((1..=2_592_000).contains(&wait) && remaining(&third) == 0);
    let (status, code, document) = refusal(third).await;
    assert_eq!((status, code.as_str()), (429, "rate_limit_exceeded"));
    assert_eq!(document["error"]["type"], "rate_limit_error");
    let message = document["error"]["message"].as_str().unwrap();
    assert!(message.contains("\"daily\" is 1 requests in 2592000 seconds for each client"), "{message}");
}

#[tokio::test]
async fn what_a_limit_does_not_name_it_does_not_count() {
    let backend = answering().await;
    let of_chats = Limit { routes: vec![LimitedRoute::ChatCompletions], ..limit("chats", 1) };
    let of_another = Limit { models: vec!["other".into()], ..limit("another", 1) };
    let of_others = Limit { namespaces: vec!["others".into()], ..limit("others", 1) };
    let mut policy = limited(&backend, vec![of_chats, of_another, of_others]);
    policy.backends[0].models.push(contract::Model {
        name: "other".into(),
        alias: None,
        ..contract::Model::default()
    });
    let api = Api::under(policy).await;
    let chat = api.chat(false).await;
    assert_eq!(header(&chat, "ratelimit-policy"), r#""chats";q=1;w=2592000"#);
    assert_eq!(api.chat(false).await.status().as_u16(), 429);
    for _ in 0..3 {
        let completion = api.post("/v1/completions", r#"{"model":"coder","prompt":"x"}"#).await;
        assert_eq!((completion.status().as_u16(), header(&completion, "ratelimit")), (200, String::new()));
    }
}

#[tokio::test]
async fn a_limit_in_shadow_refuses_nothing_and_is_not_told() {
    let backend = answering().await;
    let api = Api::under(limited(&backend, vec![Limit { is_shadow: true, ..limit("trial", 1) }])).await;
    for _ in 0..3 {
        let response = api.chat(false).await;
        assert_eq!((response.status().as_u16(), header(&response, "ratelimit")), (200, String::new()));
    }
    let metrics = api.metrics();
    for (decision, count) in [("admitted", 1), ("would_refuse", 2)] {
        let line = format!(
            "codecrucible_limit_decisions_total{{decision=\"{decision}\",limit=\"trial\"}} {count}\n"
        );
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[tokio::test]
async fn tokens_are_taken_by_estimate_and_settled_by_what_the_backend_says() {
    let backend = answering().await;
    let api =
        Api::under(limited(&backend, vec![Limit { unit: Unit::Tokens, ..limit("tokens", 10_000) }])).await;
    let body = json!({"model": "coder", "max_tokens": 500, "messages": [{"role": "user", "content": "hi"}]});
    let first = api.post("/v1/chat/completions", body.to_string()).await;
    let taken = 10_000 - remaining(&first);
    assert_eq!(taken, 500 + (body.to_string().len() as u64).div_ceil(4));
    let second = api.post("/v1/chat/completions", body.to_string()).await;
    assert_eq!(remaining(&second), 10_000 - 7 - taken, "seven were used");
}

#[tokio::test]
async fn of_a_stream_the_usage_at_its_end_counts_or_else_its_events() {
    let chunk = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":9,\"total_tokens\":11}}\n\n";
    let body = json!({"model": "coder", "stream": true, "messages": [{"role": "user", "content": "hi"}]})
        .to_string();
    let prompt = (body.len() as u64).div_ceil(4);
    for (events, used) in [
        (format!("{chunk}{chunk}{usage}data: [DONE]\n\n"), 11),
        (format!("{chunk}{chunk}data: [DONE]\n\n"), prompt + 3),
    ] {
        let backend = Backend::saying(format!("{STREAM_HEAD}{events}")).await;
        let api =
            Api::under(limited(&backend, vec![Limit { unit: Unit::Tokens, ..limit("tokens", 10_000) }]))
                .await;
        let first = api.post("/v1/chat/completions", body.clone()).await;
        let taken = 10_000 - remaining(&first);
        assert_eq!(first.text().await.unwrap(), events, "frames pass untouched");
        let second = api.post("/v1/chat/completions", body.clone()).await;
        assert_eq!(remaining(&second), 10_000 - used - taken);
    }
}

#[tokio::test]
async fn what_no_backend_answers_costs_no_tokens() {
    let backend = Backend::saying(whole("500 No", "application/json", "{}")).await;
    let api =
        Api::under(limited(&backend, vec![Limit { unit: Unit::Tokens, ..limit("tokens", 10_000) }])).await;
    let (first, second) = (api.chat(false).await, api.chat(false).await);
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (502, 502));
    assert_eq!(remaining(&second), remaining(&first));
}

#[tokio::test]
async fn a_request_that_may_need_more_than_there_is_takes_a_quarter_and_owes_the_rest() {
    let backend = answering().await;
    let api = Api::under(limited(&backend, vec![Limit { unit: Unit::Tokens, ..limit("tokens", 100) }])).await;
    let body =
        json!({"model": "coder", "max_tokens": 5_000, "messages": [{"role": "user", "content": "hi"}]});
    let first = api.post("/v1/chat/completions", body.to_string()).await;
    assert_eq!((first.status().as_u16(), remaining(&first)), (200, 75));
    let second = api.post("/v1/chat/completions", body.to_string()).await;
    assert_eq!(remaining(&second), 100 - 7 - 25);
}

#[tokio::test]
async fn who_asks_for_tokens_is_limited_by_address_behind_trusted_proxies() {
    let backend = answering().await;
    let logins = Limit { routes: vec![LimitedRoute::Token], per: Subject::Address, ..limit("logins", 2) };
    let policy = contract::Policy { trusted_proxy_hops: 1, ..limited(&backend, vec![logins]) };
    let api = Api::under(policy).await;
    let ask = |forwarded: &'static str| {
        let request = api.http.post(format!("{}/oauth/token", api.base)).header("x-forwarded-for", forwarded);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let form = "grant_type=client_credentials&client_id=local&client_secret=wrong";
        async move { request.body(form).send().await.unwrap() }
    };
    assert_eq!(ask("6.6.6.6, 1.2.3.4").await.status().as_u16(), 401);
    assert_eq!(ask("7.7.7.7, 1.2.3.4").await.status().as_u16(), 401);
    let refused = ask("8.8.8.8, 1.2.3.4").await;
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after").is_empty()), (429, false));
    let document: serde_json::Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert_eq!(document["error"], "temporarily_unavailable");
    assert_eq!(ask("1.2.3.5").await.status().as_u16(), 401, "another address is another subject");
}

#[tokio::test]
async fn models_and_syntheses_are_requests_too() {
    let backend = answering().await;
    let api = Api::under(limited(&backend, vec![limit("daily", 2)])).await;
    let list = || api.http.get(format!("{}/v1/models", api.base)).bearer_auth(&api.token).send();
    assert_eq!(list().await.unwrap().status().as_u16(), 200);
    let synthesis = api.post("/v1/synthesis", r#"{"task":"Write add(a, b) in Python."}"#).await;
    assert_eq!(remaining(&synthesis), 0);
    let (status, code, _) = refusal(list().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (429, "rate_limit_exceeded"));
}

#[tokio::test]
async fn the_voices_of_a_synthesis_use_tokens_together() {
    let chunk = "data: {\"choices\":[{\"delta\":{\"content\":\"def add(a, b): return a + b\"}}]}\n\n";
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":10,\"total_tokens\":30}}\n\n";
    let backend = Backend::saying(format!("{STREAM_HEAD}{chunk}{usage}data: [DONE]\n\n")).await;
    let api =
        Api::under(limited(&backend, vec![Limit { unit: Unit::Tokens, ..limit("tokens", 10_000) }])).await;
    let body = r#"{"task":"Write add(a, b) in Python.","voices":["developer","security"]}"#;
    let first = api.post("/v1/synthesis", body).await;
    let taken = 10_000 - remaining(&first);
    assert_eq!(first.status().as_u16(), 200);
    first.text().await.unwrap();
    let second = api.post("/v1/synthesis", body).await;
    assert_eq!(remaining(&second), 10_000 - 2 * 30 - taken, "each of two voices used thirty");
}

#[tokio::test]
async fn no_more_requests_are_under_way_at_once_than_a_client_may_have() {
    let backend = Backend::doing(|mut stream, request| async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        if !request.contains("\"stream\":true") {
            let _ = stream.write_all(whole("200 OK", "application/json", ANSWER).as_bytes()).await;
            return;
        }
        let _ = stream.write_all(format!("{STREAM_HEAD}data: {{}}\n\n").as_bytes()).await;
        // Until the client, and with it the service, is gone.
        let _ = stream.read(&mut [0; 8]).await;
    })
    .await;
    let two = Limit { unit: Unit::ConcurrentRequests, limit: 2, burst: 2, ..limit("at-once", 2) };
    let api = Api::under(limited(&backend, vec![two, limit("daily", 5)])).await;
    let streams = [api.chat(true).await, api.chat(true).await];
    assert_eq!(
        header(&streams[1], "ratelimit-policy"),
        "\"at-once\";q=2;qu=\"concurrent-requests\", \"daily\";q=1;w=2592000"
    );
    assert!(header(&streams[1], "ratelimit").starts_with("\"at-once\";r=0, \"daily\";r=3;t="));
    let third = api.chat(false).await;
    assert_eq!(header(&third, "retry-after"), "1");
    let (status, code, document) = refusal(third).await;
    assert_eq!((status, code.as_str()), (429, "rate_limit_exceeded"));
    assert_eq!(
        document["error"]["message"],
        "The limit \"at-once\" is 2 requests at once for each client. Try again in 1 seconds."
    );
    let [first, _second] = streams;
    drop(first);
    let mut admitted = api.chat(false).await;
    while admitted.status().as_u16() == 429 {
        admitted = api.chat(false).await;
    }
    assert!(
        header(&admitted, "ratelimit").starts_with("\"at-once\";r=0, \"daily\";r=2;t="),
        "who is refused counts for none"
    );
    drop(admitted);
}
