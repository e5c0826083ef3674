//! Secrets in requests: no backend sees them where the policy has them taken out.

use crate::support::{Api, Backend, STREAM_HEAD, policy, whole};
use codecrucible_contract as contract;
use serde_json::json;

const SECRET: &str = "AKIAIOSFODNN7EXAMPLE";
const CHUNK: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"x = 1\"}}]}\n\ndata: [DONE]\n\n";

fn redacting(url: &str, is_shadow: bool) -> contract::Policy {
    let mut policy = policy(url);
    let pattern = contract::SecretPattern { name: "badge".into(), pattern: "BADGE-[0-9]{6}".into() };
    policy.redaction = Some(contract::Redaction { is_shadow, patterns: vec![pattern] });
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
    let metrics = String::from_utf8(api.service.metrics().render()).unwrap();
    let counted = "codecrucible_secrets_found_total{action=\"would_redact\",pattern=\"aws-access-key\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
}
