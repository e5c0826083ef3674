//! Secrets in requests: no backend sees them where the policy has them taken out.

use crate::cache::{caching, rule};
use crate::support::{Api, Backend, STREAM_HEAD, policy, whole};
use codecrucible_contract as contract;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

const SECRET: &str = "AKIAIOSFODNN7EXAMPLE";
const CHUNK: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"x = 1\"}}]}\n\ndata: [DONE]\n\n";

fn redacting(url: &str, is_shadow: bool) -> contract::Policy {
    let mut policy = policy(url);
    let pattern = contract::SecretPattern { name: "badge".into(), pattern: "BADGE-[0-9]{6}".into() };
    policy.redaction = Some(contract::Redaction { is_shadow, answers: None, patterns: vec![pattern] });
    policy
}

async fn redacted_header(api: &Api, path: &str, body: serde_json::Value) -> Option<String> {
    let answer = api.post(path, body.to_string()).await;
    assert_eq!(answer.status(), 200);
    answer.headers().get("x-codecrucible-redacted").map(|names| names.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_backend_reads_a_name_in_the_place_of_each_secret_and_the_client_is_told() {
    let (backend, heard) = Backend::heard(whole("200 OK", "application/json", "{\"choices\":[]}")).await;
    let api = Api::under(redacting(&backend.url, false)).await;
    let text = format!("Why does aws --key {SECRET} fail for \"BADGE-123456\"?");
    let body =
        json!({"model": "coder", "messages": [{"role": "user", "content": text}], "temperature": 0.25});
    let told = redacted_header(&api, "/v1/chat/completions", body).await;
    assert_eq!(told.as_deref(), Some("aws-access-key, badge"));
    let request = heard.lock().unwrap()[0].clone();
    let expected = "Why does aws --key [REDACTED:aws-access-key] fail for \\\"[REDACTED:badge]\\\"?";
    assert!(request.contains(expected) && request.contains("\"temperature\":0.25"), "{request}");
    let plain =
        json!({"model": "coder", "messages": [{"role": "user", "content": "DROP TABLE users; -- sk-learn"}]});
    assert_eq!(redacted_header(&api, "/v1/chat/completions", plain).await, None);
}

#[tokio::test]
async fn voices_do_not_read_them_either() {
    let (backend, heard) = Backend::heard(format!("{STREAM_HEAD}{CHUNK}")).await;
    let api = Api::under(redacting(&backend.url, false)).await;
    let body = json!({"task": format!("Use {SECRET}."), "voices": ["developer"]});
    assert_eq!(redacted_header(&api, "/v1/synthesis", body).await.as_deref(), Some("aws-access-key"));
    assert!(!heard.lock().unwrap()[0].contains(SECRET));
}

#[tokio::test]
async fn in_shadow_they_pass_and_are_only_counted() {
    let (backend, heard) = Backend::heard(whole("200 OK", "application/json", "{}")).await;
    let api = Api::under(redacting(&backend.url, true)).await;
    let body = json!({"model": "coder", "input": SECRET});
    assert_eq!(redacted_header(&api, "/v1/embeddings", body).await, None);
    assert!(heard.lock().unwrap()[0].contains(SECRET));
    let metrics = api.metrics();
    let counted = "codecrucible_secrets_found_total{action=\"would_redact\",pattern=\"aws-access-key\",side=\"request\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
}

fn redacting_answers(url: &str, mode: contract::RedactionMode) -> contract::Policy {
    let mut policy = policy(url);
    policy.redaction =
        Some(contract::Redaction { is_shadow: false, answers: Some(mode), patterns: Vec::new() });
    policy
}

fn counted(api: &Api, action: &str) -> String {
    let metrics = api.metrics();
    let name = format!(
        "codecrucible_secrets_found_total{{action=\"{action}\",pattern=\"aws-access-key\",side=\"answer\"}} "
    );
    metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or("0").to_owned()
}

/// What a client reads of an answer.
async fn answered(api: &Api, path: &str, body: serde_json::Value) -> String {
    let answer = api.post(path, body.to_string()).await;
    assert!(answer.headers().get("x-codecrucible-redacted").is_none(), "it is about requests");
    answer.text().await.unwrap()
}

#[tokio::test]
async fn a_client_reads_a_name_in_the_place_of_a_secret_that_a_model_answers() {
    let document = json!({"choices": [{"message": {"content": format!("key = \"{SECRET}\"")}}]}).to_string();
    let (backend, _) = Backend::heard(whole("200 OK", "application/json", &document)).await;
    let api = Api::under(redacting_answers(&backend.url, contract::RedactionMode::Enforce)).await;
    let body = json!({"model": "coder", "messages": [{"role": "user", "content": "hello"}]});
    let answer = answered(&api, "/v1/chat/completions", body.clone()).await;
    assert_eq!(answer, document.replace(SECRET, "[REDACTED:aws-access-key]"));
    // Read and written anew, for a client who speaks otherwise.
    let messages = answered(
        &api,
        "/v1/messages",
        json!({"model": "coder", "max_tokens": 9, "messages": body["messages"]}),
    )
    .await;
    assert!(
        messages.contains("key = \\\"[REDACTED:aws-access-key]\\\"") && !messages.contains(SECRET),
        "{messages}"
    );
    assert_eq!(counted(&api, "redacted"), "2");
    // Numbers in Base64 are no texts.
    let embeddings = answered(&api, "/v1/embeddings", json!({"model": "coder", "input": "x"})).await;
    assert_eq!(embeddings, document);
    api.apply(redacting_answers(&backend.url, contract::RedactionMode::Shadow));
    assert_eq!(answered(&api, "/v1/chat/completions", body).await, document);
    assert_eq!(counted(&api, "would_redact"), "1");
}

#[tokio::test]
async fn an_answer_that_was_kept_before_is_not_given_with_its_secrets() {
    let document = json!({"choices": [{"message": {"content": SECRET}}]}).to_string();
    let (backend, heard) = Backend::heard(whole("200 OK", "application/json", &document)).await;
    let mut policy = caching(&backend.url, rule());
    let api = Api::under(policy.clone()).await;
    let body =
        json!({"model": "coder", "temperature": 0, "messages": [{"role": "user", "content": "hello"}]});
    for _ in 0..2 {
        assert_eq!(answered(&api, "/v1/chat/completions", body.clone()).await, document);
    }
    policy.redaction = redacting_answers(&backend.url, contract::RedactionMode::Enforce).redaction;
    api.apply(policy);
    for _ in 0..2 {
        let answer = answered(&api, "/v1/chat/completions", body.clone()).await;
        assert_eq!(answer, document.replace(SECRET, "[REDACTED:aws-access-key]"));
    }
    assert_eq!(heard.lock().unwrap().len(), 2, "each is asked once, and kept");
}

#[tokio::test]
async fn no_secret_is_read_that_comes_in_pieces_whatever_the_client_speaks() {
    let pieces = ["key = AKIAIOSF", "ODNN7", "EXAMPLE;"];
    let event = |piece: &&str| {
        format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": piece}}]}))
    };
    let events: String = pieces.iter().map(event).collect();
    let backend = Backend::saying(format!("{STREAM_HEAD}{events}data: [DONE]\n\n")).await;
    let api = Api::under(redacting_answers(&backend.url, contract::RedactionMode::Enforce)).await;
    let messages = json!([{"role": "user", "content": "hello"}]);
    let chat = json!({"model": "coder", "messages": messages, "stream": true});
    let message = json!({"model": "coder", "max_tokens": 9, "messages": messages, "stream": true});
    let voices = json!({"task": "hello", "voices": ["developer"], "stream": true});
    // Voices say again at the end what they said.
    let all = [
        ("/v1/chat/completions", chat, Some("1")),
        ("/v1/messages", message, Some("2")),
        ("/v1/synthesis", voices, None),
    ];
    for (path, body, in_all) in all {
        let answer = answered(&api, path, body).await;
        assert!(answer.contains("key = [REDACTED:aws-access-key]"), "{path}: {answer}");
        for part in ["AKIA", "ODNN7", "EXAMPLE"] {
            assert!(!answer.contains(part), "{path}: {answer}");
        }
        assert!(in_all.is_none_or(|in_all| counted(&api, "redacted") == in_all), "{path}");
    }
}

#[tokio::test]
async fn nor_is_one_in_the_events_of_a_response_or_in_what_a_backend_finds_fault_with() {
    let backend = Backend::doing(|mut stream, request| async move {
        let event = |text: &str| {
            let delta = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
            format!("event: content_block_delta\ndata: {delta}\n\n")
        };
        let error = json!({"type": "error", "error": {"type": "invalid_request_error", "message": format!("no {SECRET}")}});
        let answer = if request.contains("\"stream\":true") {
            let stop = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
            format!("{STREAM_HEAD}{}{}{stop}", event("AKIAIOSF"), event("ODNN7EXAMPLE;"))
        } else {
            whole("400 Bad Request", "application/json", &error.to_string())
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let url = backend.url.trim_end_matches("/v1").to_owned();
    let mut policy = redacting_answers(&url, contract::RedactionMode::Enforce);
    let remote = contract::Remote { url, has_credential: false, protocol: contract::Protocol::Anthropic };
    policy.backends[0].kind = contract::BackendKind::Remote(remote);
    let api = Api::under(policy).await;
    let asked = |stream: bool| json!({"model": "coder", "input": "hello", "stream": stream});
    let streamed = answered(&api, "/v1/responses", asked(true)).await;
    // The first piece has the name in it, and what comes after it is in the next one.
    assert!(streamed.contains("\"delta\":\"[REDACTED:aws-access-key]\""), "{streamed}");
    assert!(streamed.contains("response.completed") && !streamed.contains("ODNN7"), "{streamed}");
    let refused = answered(&api, "/v1/responses", asked(false)).await;
    assert!(refused.contains("no [REDACTED:aws-access-key]"), "{refused}");
}
