//! What would become of a request that is not sent.

use crate::support::{Api, Backend, chat, policy, refusal, whole};
use codecrucible_contract as contract;
use serde_json::{Value, json};

async fn explained(api: &Api, body: &Value, wish: &str) -> reqwest::Response {
    let request = api.http.post(format!("{}/v1/chat/completions", api.base)).bearer_auth(&api.token);
    request.header("x-codecrucible-dry-run", wish).body(body.to_string()).send().await.unwrap()
}

#[tokio::test]
async fn who_would_be_asked_and_who_not_and_why_is_told_and_nobody_is_asked() {
    let (backend, asked) = Backend::heard(whole("200 OK", "application/json", "{}")).await;
    let mut policy = policy(&backend.url);
    let contract::BackendKind::Remote(remote) = &policy.backends[0].kind else { panic!() };
    let ollama = contract::Remote {
        url: remote.url.trim_end_matches("/v1").to_owned(),
        protocol: contract::Protocol::Ollama(contract::Ollama::default()),
        ..remote.clone()
    };
    let kind = contract::BackendKind::Remote(ollama);
    policy.backends.push(contract::Backend { name: "ollama".into(), kind, ..policy.backends[0].clone() });
    policy.backends.push(contract::Backend {
        name: "helper".into(),
        priority: 1,
        ..policy.backends[0].clone()
    });
    let api = Api::under(policy).await;
    let mut body = chat("coder", false);
    body["tools"] = json!([{"type": "function", "function": {"name": "look"}}]);
    body["tool_choice"] = json!("required");
    let answer: Value = explained(&api, &body, "true").await.json().await.unwrap();
    assert_eq!((&answer["model"], &answer["order"]), (&json!("coder"), &json!(["remote", "helper"])));
    let [remote, ollama, helper] = &answer["backends"].as_array().unwrap()[..] else { panic!("{answer}") };
    assert_eq!((&remote["state"], &remote["not_asked"]), (&json!("ready"), &Value::Null));
    assert_eq!((&ollama["speaks"], &ollama["not_asked"]["param"]), (&json!("ollama"), &json!("tool_choice")));
    assert_eq!(helper["priority"], 1);
    assert!(!answer.to_string().contains("127.0.0.1"), "{answer}");
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_refused_is_refused_then_too() {
    let backend = Backend::saying(whole("200 OK", "application/json", "{}")).await;
    let api = Api::in_front_of(&backend.url).await;
    assert_eq!(refusal(explained(&api, &chat("ghost", false), "true").await).await.0, 404);
    let (status, _, document) = refusal(explained(&api, &chat("coder", false), "yes").await).await;
    assert_eq!((status, &document["error"]["param"]), (400, &json!("x-codecrucible-dry-run")));
}
