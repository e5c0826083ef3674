//! What a collector is told of requests.

use crate::support::{Api, Backend, chat, policy, whole};
use codecrucible_contract as contract;

const COMPLETION: &str = r#"{"choices":[{"message":{"content":"Yes."}}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;

fn telling(backend: &Backend, collector: &Backend, sample_percent: u16) -> contract::Policy {
    let mut policy = policy(&backend.url);
    let endpoint = collector.url.trim_end_matches("/v1").to_owned();
    policy.observability.traces = Some(contract::Traces { endpoint, sample_percent });
    policy
}

#[tokio::test]
async fn a_collector_is_told_of_a_request_and_its_backend_goes_on_with_the_trace() {
    let (backend, asked) = Backend::heard(whole("200 OK", "application/json", COMPLETION)).await;
    let (collector, told) = Backend::heard(whole("200 OK", "application/x-protobuf", "")).await;
    let api = Api::under(telling(&backend, &collector, 100)).await;
    assert_eq!(api.chat(false).await.bytes().await.unwrap(), COMPLETION);
    api.service.settle().await;
    let told = told.lock().unwrap().concat();
    assert!(told.starts_with("POST /v1/traces "), "{told}");
    for part in ["POST /v1/chat/completions", "chat coder", "attempt remote", "gen_ai.usage.output_tokens"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("Yes.") && !told.contains(&api.token), "no words and no secrets");
    let asked = asked.lock().unwrap()[0].to_lowercase();
    assert!(asked.contains("traceparent: 00-") && asked.contains("-01\r\n"), "{asked}");
}

#[tokio::test]
async fn nobody_is_told_of_what_the_client_or_chance_leaves_out() {
    let (backend, _) = Backend::heard(whole("200 OK", "application/json", COMPLETION)).await;
    let (collector, told) = Backend::heard(whole("200 OK", "application/x-protobuf", "")).await;
    let api = Api::under(telling(&backend, &collector, 0)).await;
    assert_eq!(api.chat(false).await.status(), 200);
    let request = api.http.post(format!("{}/v1/chat/completions", api.base)).bearer_auth(&api.token);
    let request = request.header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
    assert_eq!(request.body(chat("coder", false).to_string()).send().await.unwrap().status(), 200);
    api.service.settle().await;
    assert!(told.lock().unwrap().is_empty());
}

#[tokio::test]
async fn another_collector_is_told_from_the_next_policy_on_and_one_that_is_away_harms_nobody() {
    let (backend, _) = Backend::heard(whole("200 OK", "application/json", COMPLETION)).await;
    let closed = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (away, _) = Backend::heard(String::new()).await;
    let mut policy = telling(&backend, &away, 100);
    let endpoint = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    policy.observability.traces.as_mut().unwrap().endpoint = endpoint;
    let api = Api::under(policy).await;
    assert_eq!(api.chat(false).await.status(), 200);
    let (collector, told) = Backend::heard(whole("200 OK", "application/x-protobuf", "")).await;
    api.apply(telling(&backend, &collector, 100));
    assert_eq!(api.chat(false).await.bytes().await.unwrap(), COMPLETION);
    api.service.settle().await;
    assert!(told.lock().unwrap().concat().contains("chat coder"));
    let batches = |outcome: &str| api.service.metrics().trace_batches.with_label_values(&[outcome]).get();
    assert_eq!((batches("lost"), batches("told")), (1, 1));
}

#[tokio::test]
async fn who_has_no_token_cannot_have_a_collector_told() {
    let (backend, _) = Backend::heard(whole("200 OK", "application/json", COMPLETION)).await;
    let (collector, told) = Backend::heard(whole("200 OK", "application/x-protobuf", "")).await;
    let api = Api::under(telling(&backend, &collector, 0)).await;
    let ask = async |token: &str| {
        let request = api.http.post(format!("{}/v1/chat/completions", api.base)).bearer_auth(token);
        let request =
            request.header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        request.body(chat("coder", false).to_string()).send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask("wrong").await, 401);
    api.service.settle().await;
    assert!(told.lock().unwrap().is_empty());
    api.apply(policy(&backend.url));
    api.apply(telling(&backend, &collector, 0));
    assert_eq!(ask(&api.token).await, 200);
    api.service.settle().await;
    assert!(told.lock().unwrap().concat().contains("chat coder"));
}
