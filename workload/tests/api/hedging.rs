//! Backends that say nothing for long: another one is asked too, and the first answer that begins is given.

use crate::support::{Api, Backend, STREAM_HEAD, chat, eventually, one_after_the_other, way, whole};
use codecrucible_contract as contract;
use serde_json::Value;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;

const EVENTS: &str = "data: {\"x\":1}\n\ndata: [DONE]\n\n";

fn stream() -> String {
    format!("{STREAM_HEAD}{EVENTS}")
}

/// A backend that never answers, and gives a permit when the connection to it is closed.
async fn silent() -> (Backend, Arc<Semaphore>) {
    let left = Arc::new(Semaphore::new(0));
    let leaving = Arc::clone(&left);
    let backend = Backend::doing(move |mut stream, _| {
        let leaving = Arc::clone(&leaving);
        async move {
            let _ = stream.read(&mut [0; 16]).await;
            leaving.add_permits(1);
        }
    });
    (backend.await, left)
}

/// Both serve the model, with one prompt in common, so that the same one is always asked first.
fn policy(first: &str, second: &str) -> contract::Policy {
    let mut policy = one_after_the_other(&[first, second]);
    for backend in &mut policy.backends {
        backend.priority = 0;
        backend.timeouts.first_byte_ms = 60_000;
        backend.timeouts.total_ms = 60_000;
    }
    policy.routing.affinity = contract::Affinity::PromptPrefix;
    policy.routing.hedge_after_ms = Some(10);
    policy
}

/// Who is asked first for the prompt of [`Api::chat`]: to whom it belongs is by their names alone.
async fn first_and_second() -> [&'static str; 2] {
    let api = Api::under(policy("http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1")).await;
    let request = api.http.post(format!("{}/v1/chat/completions", api.base)).bearer_auth(&api.token);
    let request = request.header("x-codecrucible-dry-run", "true").body(chat("coder", true).to_string());
    let told: Value = serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
    if told["order"][0] == "b0" { ["b0", "b1"] } else { ["b1", "b0"] }
}

/// A policy by which the first of these is asked first.
async fn in_order(first: &str, second: &str) -> contract::Policy {
    let mut policy = policy(first, second);
    for (backend, name) in policy.backends.iter_mut().zip(first_and_second().await) {
        backend.name = name.into();
    }
    policy
}

fn count(api: &Api, backend: &str, outcome: &str) -> bool {
    let metrics = api.metrics();
    let labels = format!("backend=\"{backend}\",outcome=\"{outcome}\"");
    metrics.contains(&format!("codecrucible_backend_answers_total{{{labels}}} 1\n"))
}

#[tokio::test]
async fn one_that_says_nothing_is_outrun_by_another_one_and_left() {
    let (silent, left) = silent().await;
    let good = Backend::saying(stream()).await;
    let api = Api::under(in_order(&silent.url, &good.url).await).await;
    let [first, second] = first_and_second().await;
    let response = api.chat(true).await;
    assert_eq!(way(&response), (200, format!("backend={second}; attempts=2; hedged")));
    assert_eq!(response.text().await.unwrap(), EVENTS);
    left.acquire().await.unwrap().forget();
    eventually(|| api.service.snapshot().backends().all(|backend| backend.health().in_flight() == 0)).await;
    assert!(count(&api, first, "outrun") && count(&api, second, "answered"));
}

#[tokio::test]
async fn when_the_other_one_fails_the_first_is_waited_for() {
    let may = Arc::new(Semaphore::new(0));
    let waiting = Arc::clone(&may);
    let slow = Backend::doing(move |mut connection, _| {
        let waiting = Arc::clone(&waiting);
        async move {
            waiting.acquire().await.unwrap().forget();
            let _ = connection.write_all(stream().as_bytes()).await;
        }
    })
    .await;
    let failing = Backend::saying(whole("500 No", "application/json", "{}")).await;
    let api = Api::under(in_order(&slow.url, &failing.url).await).await;
    let [first, second] = first_and_second().await;
    let asking = tokio::spawn({
        let request = api.http.post(format!("{}/v1/chat/completions", api.base)).bearer_auth(&api.token);
        request.body(chat("coder", true).to_string()).send()
    });
    eventually(|| count(&api, second, "error")).await;
    may.add_permits(1);
    assert_eq!(way(&asking.await.unwrap().unwrap()), (200, format!("backend={first}; attempts=2; hedged")));
}

#[tokio::test]
async fn nobody_else_is_asked_without_a_budget_nor_for_a_whole_answer_nor_one_of_another_priority() {
    let [first, second] = first_and_second().await;
    let good = Backend::saying(stream()).await;
    let whole_answer = Backend::saying(whole("200 OK", "application/json", "{}")).await;
    let (silent, _) = silent().await;
    let mut without_budget = in_order(&silent.url, &good.url).await;
    without_budget.routing.retry_budget_percent = 0;
    let mut for_need = in_order(&silent.url, &good.url).await;
    for_need.backends[1].priority = 1;
    let of_whole = in_order(&silent.url, &whole_answer.url).await;
    for (mut policy, is_stream, expected) in [
        (without_budget, true, (504, format!("backend={first}; attempts=1; by=prefix"))),
        (for_need, true, (200, format!("backend={second}; attempts=2"))),
        (of_whole, false, (200, format!("backend={second}; attempts=2"))),
    ] {
        policy.backends[0].timeouts.first_byte_ms = 300;
        let api = Api::under(policy).await;
        assert_eq!(way(&api.chat(is_stream).await), expected);
    }
}
