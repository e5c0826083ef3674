//! Backends that say nothing for long: another one is asked too, and the first answer that begins is given.

use crate::support::{Api, Backend, one_after_the_other, way, whole};
use codecrucible_contract as contract;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;

const ANSWER: &str = "{\"choices\":[]}";

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

/// Both serve the model, and the first one is asked first.
fn policy(first: &str, second: &str) -> contract::Policy {
    let mut policy = one_after_the_other(&[first, second]);
    for (backend, weight) in policy.backends.iter_mut().zip([1, 0]) {
        (backend.priority, backend.weight) = (0, weight);
        backend.timeouts.first_byte_ms = 60_000;
        backend.timeouts.total_ms = 60_000;
    }
    policy.routing.hedge_after_ms = Some(10);
    policy
}

#[tokio::test]
async fn one_that_says_nothing_is_outrun_by_another_one_and_left() {
    let (silent, left) = silent().await;
    let good = Backend::saying(whole("200 OK", "application/json", ANSWER)).await;
    let api = Api::under(policy(&silent.url, &good.url)).await;
    let response = api.chat(false).await;
    assert_eq!(way(&response), (200, "backend=b1; attempts=2; hedged".into()));
    assert_eq!(response.text().await.unwrap(), ANSWER);
    left.acquire().await.unwrap().forget();
    let snapshot = api.service.snapshot();
    assert!(snapshot.backends().all(|backend| backend.health().in_flight() == 0));
    let metrics = String::from_utf8(api.service.metrics().render()).unwrap();
    assert!(metrics.contains("codecrucible_backend_answers_total{backend=\"b0\",outcome=\"outrun\"} 1"));
}

#[tokio::test]
async fn when_the_other_one_fails_the_first_is_waited_for() {
    let may = Arc::new(Semaphore::new(0));
    let waiting = Arc::clone(&may);
    let slow = Backend::doing(move |mut stream, _| {
        let waiting = Arc::clone(&waiting);
        async move {
            waiting.acquire().await.unwrap().forget();
            let answer = whole("200 OK", "application/json", ANSWER);
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let asked = Arc::clone(&may);
    let failing = Backend::doing(move |mut stream, _| {
        let asked = Arc::clone(&asked);
        async move {
            let _ = stream.write_all(whole("500 No", "application/json", "{}").as_bytes()).await;
            asked.add_permits(1);
        }
    })
    .await;
    let api = Api::under(policy(&slow.url, &failing.url)).await;
    assert_eq!(way(&api.chat(false).await), (200, "backend=b0; attempts=2; hedged".into()));
}

#[tokio::test]
async fn nobody_else_is_asked_without_a_budget_nor_one_of_another_priority() {
    let good = Backend::saying(whole("200 OK", "application/json", ANSWER)).await;
    let (silent, _) = silent().await;
    let mut without_budget = policy(&silent.url, &good.url);
    without_budget.routing.retry_budget_percent = 0;
    let mut for_need = policy(&silent.url, &good.url);
    for_need.backends[1].priority = 1;
    for (mut policy, expected) in [
        (without_budget, (504, "backend=b0; attempts=1".to_owned())),
        (for_need, (200, "backend=b1; attempts=2".to_owned())),
    ] {
        policy.backends[0].timeouts.first_byte_ms = 300;
        let api = Api::under(policy).await;
        assert_eq!(way(&api.chat(false).await), expected);
    }
}

#[tokio::test]
async fn where_more_than_a_share_fails_all_are_asked() {
    let asked = |max_resting_percent| async move {
        let failing = Backend::saying(whole("503 No", "application/json", "{}")).await;
        let mut policy = policy(&failing.url, &failing.url);
        policy.routing.max_resting_percent = max_resting_percent;
        for backend in &mut policy.backends {
            backend.circuit_breaker.minimum_requests = 1;
        }
        let api = Api::under(policy).await;
        let _ = api.chat(false).await;
        api.chat(false).await.status().as_u16()
    };
    assert_eq!(asked(100).await, 503, "both are left alone");
    assert_eq!(asked(99).await, 502, "one is asked");
}
