//! Backends that are not to have more than so many requests at once: who waits, whose turn is next, and who is refused.

use crate::support::{Api, Backend, chat, eventually, one_after_the_other, refusal, way, whole};
use codecrucible_contract as contract;
use serde_json::json;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

const ANSWER: &str = "{\"choices\":[]}";

/// A backend that answers when it may, and remembers whom.
struct Held {
    backend: Backend,
    may: Arc<Semaphore>,
    served: Arc<Mutex<Vec<String>>>,
}

impl Held {
    async fn new() -> Self {
        let (may, served) = (Arc::new(Semaphore::new(0)), Arc::<Mutex<Vec<String>>>::default());
        let (waiting, serving) = (Arc::clone(&may), Arc::clone(&served));
        let backend = Backend::doing(move |mut stream, request| {
            let (waiting, serving) = (Arc::clone(&waiting), Arc::clone(&serving));
            async move {
                waiting.acquire().await.unwrap().forget();
                let name = request.split("name-").nth(1).map(|rest| rest[..1].to_owned());
                serving.lock().unwrap().extend(name);
                let answer = whole("200 OK", "application/json", ANSWER);
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await;
            }
        });
        Self { backend: backend.await, may, served }
    }
}

fn concurrency(max_requests: u32, queued: u32) -> contract::Concurrency {
    let queue = contract::Queue { max_requests: queued, timeout_ms: 60_000 };
    contract::Concurrency { max_requests, adaptive: false, queue }
}

fn policy(urls: &[&str], queued: u32) -> contract::Policy {
    let mut policy = one_after_the_other(urls);
    for backend in &mut policy.backends {
        backend.timeouts.first_byte_ms = 60_000;
        backend.timeouts.total_ms = 60_000;
        backend.concurrency = Some(concurrency(1, queued));
    }
    policy
}

impl Api {
    /// Asks in a task of its own.
    fn ask(&self, name: &str, urgency: &str) -> tokio::task::JoinHandle<reqwest::Response> {
        let body =
            json!({"model": "coder", "messages": [{"role": "user", "content": format!("name-{name}")}]});
        let request = self.http.post(format!("{}/v1/chat/completions", self.base)).bearer_auth(&self.token);
        let request = request.header("content-type", "application/json");
        let request = request.header("x-codecrucible-urgency", urgency).body(body.to_string());
        tokio::spawn(async move { request.send().await.unwrap() })
    }

    /// Waits until the first backend has so many requests, and so many wait.
    async fn until(&self, in_flight: u32, queued: usize) {
        eventually(|| {
            let snapshot = self.service.snapshot();
            let seen = snapshot.backends().next().unwrap().health().room().occupancy();
            (seen.in_flight, seen.queued.iter().sum()) == (in_flight, queued)
        })
        .await;
    }
}

#[tokio::test]
async fn requests_wait_for_room_and_the_more_urgent_have_their_turn_first() {
    let held = Held::new().await;
    let api = Api::under(policy(&[&held.backend.url], 9)).await;
    let mut asked = vec![api.ask("a", "normal")];
    api.until(1, 0).await;
    for (index, (name, urgency)) in [("b", "low"), ("c", "normal"), ("d", "high")].into_iter().enumerate() {
        asked.push(api.ask(name, urgency));
        api.until(1, index + 1).await;
    }
    held.may.add_permits(4);
    for asked in asked {
        assert_eq!(asked.await.unwrap().status(), 200);
    }
    // Nobody is more urgent than the policy says, which says nothing here.
    assert_eq!(held.served.lock().unwrap().concat(), "acdb");
}

#[tokio::test]
async fn who_is_urgent_is_for_the_policy_to_say() {
    let held = Held::new().await;
    let mut urgent = policy(&[&held.backend.url], 9);
    urgent.routing.urgencies = vec![contract::UrgencyRule {
        urgency: contract::Urgency::High,
        models: Vec::new(),
        namespaces: Vec::new(),
    }];
    let api = Api::under(urgent).await;
    let first = api.ask("a", "high");
    api.until(1, 0).await;
    let waiting = [api.ask("b", "normal")];
    api.until(1, 1).await;
    let last = api.ask("c", "high");
    api.until(1, 2).await;
    held.may.add_permits(3);
    for asked in [first].into_iter().chain(waiting).chain([last]) {
        assert_eq!(asked.await.unwrap().status(), 200);
    }
    assert_eq!(held.served.lock().unwrap().concat(), "acb");
    let wrong = api.ask("d", "urgent").await.unwrap();
    let (status, _, error) = refusal(wrong).await;
    assert_eq!((status, error["error"]["param"].as_str()), (400, Some("x-codecrucible-urgency")));
}

#[tokio::test]
async fn where_nobody_may_wait_others_are_asked_and_then_the_client_is_told_when_to_come_back() {
    let (held, other) = (Held::new().await, Held::new().await);
    let api = Api::under(policy(&[&held.backend.url, &other.backend.url], 0)).await;
    let first = api.ask("a", "normal");
    api.until(1, 0).await;
    let second = api.ask("b", "normal");
    other.may.add_permits(1);
    assert_eq!(way(&second.await.unwrap()), (200, "backend=b1; attempts=1".into()));
    let third = api.ask("c", "normal");
    eventually(|| api.service.snapshot().backends().all(|backend| backend.health().in_flight() == 1)).await;
    let refused = api.chat(false).await;
    let retry_after = refused.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap();
    assert!(retry_after > 0);
    let (status, code, _) = refusal(refused).await;
    assert_eq!((status, code.as_str()), (503, "overloaded"));
    held.may.add_permits(1);
    other.may.add_permits(1);
    for asked in [first, third] {
        assert_eq!(asked.await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_policy_that_gives_more_room_lets_those_in_who_wait() {
    let held = Held::new().await;
    let mut policy = policy(&[&held.backend.url], 9);
    let api = Api::under(policy.clone()).await;
    let mut asked = vec![api.ask("a", "normal")];
    api.until(1, 0).await;
    asked.extend([api.ask("b", "normal"), api.ask("c", "normal")]);
    api.until(1, 2).await;
    policy.backends[0].concurrency = Some(concurrency(9, 9));
    api.apply(policy);
    api.until(3, 0).await;
    held.may.add_permits(3);
    for asked in asked {
        assert_eq!(asked.await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_place_back() {
    let held = Held::new().await;
    let api = Api::under(policy(&[&held.backend.url], 9)).await;
    let first = api.ask("a", "normal");
    api.until(1, 0).await;
    let second = api.ask("b", "normal");
    api.until(1, 1).await;
    second.abort();
    api.until(1, 0).await;
    first.abort();
    api.until(0, 0).await;
    let third = api.post("/v1/chat/completions", chat("coder", false).to_string());
    held.may.add_permits(9);
    assert_eq!(third.await.status(), 200);
}

#[tokio::test]
async fn where_one_of_two_equals_takes_nobody_any_more_the_others_line_is_joined() {
    let (held, other) = (Held::new().await, Held::new().await);
    let mut policy = policy(&[&held.backend.url, &other.backend.url], 9);
    policy.backends[1].priority = 0;
    policy.backends[0].concurrency = Some(concurrency(1, 0));
    let api = Api::under(policy).await;
    let mut asked = vec![api.ask("a", "normal"), api.ask("b", "normal")];
    eventually(|| api.service.snapshot().backends().all(|backend| backend.health().in_flight() == 1)).await;
    asked.push(api.ask("c", "normal"));
    let queued = |backend: &std::sync::Arc<codecrucible_workload::backend::Backend>| {
        backend.health().room().occupancy().queued[1]
    };
    eventually(|| api.service.snapshot().backends().map(queued).eq([0, 1])).await;
    held.may.add_permits(1);
    other.may.add_permits(2);
    for asked in asked {
        assert_eq!(asked.await.unwrap().status(), 200);
    }
}
