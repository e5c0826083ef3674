//! The other parts of OpenAI's API: each reaches the backend under its own path, byte for byte.

use crate::support::{Api, Backend, STREAM_HEAD, refusal, whole};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt as _;

const ANSWER: &str = "{\"object\":\"list\",\"data\":[]}";

/// A backend that keeps what it was asked last.
async fn remembering(answer: String) -> (Backend, Arc<Mutex<String>>) {
    let last = Arc::<Mutex<String>>::default();
    let kept = Arc::clone(&last);
    let backend = Backend::doing(move |mut stream, request| {
        *kept.lock().unwrap() = request;
        let answer = answer.clone();
        async move {
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    (backend, last)
}

#[tokio::test]
async fn each_part_passes_through_to_the_same_part_of_the_backend() {
    let (backend, last) = remembering(whole("200 OK", "application/json", ANSWER)).await;
    let api = Api::in_front_of(&backend.url).await;
    let host = backend.url.trim_start_matches("http://").trim_end_matches("/v1");
    for (path, fields) in [
        ("/v1/completions", r#""prompt":"def f(" , "x":1.50"#),
        ("/v1/responses", r#""input":"hi","tools":[{"type":"function","name":"f"}]"#),
        ("/v1/embeddings", r#""input":["a","b"]"#),
    ] {
        let answer = api.post(path, format!(r#"{{"model":"coder",{fields}}}"#)).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["x-codecrucible-route"], "backend=remote; attempts=1");
        assert_eq!(answer.text().await.unwrap(), ANSWER);
        let asked = last.lock().unwrap().clone();
        assert!(asked.starts_with(&format!("POST {path} HTTP/1.1\r\n")), "{asked}");
        assert!(asked.contains(&format!("host: {host}\r\n")), "{asked}");
        assert!(asked.ends_with(&format!(r#"{{"model":"m",{fields}}}"#)), "{asked}");
    }
}

#[tokio::test]
async fn a_stream_of_a_response_is_whole_when_its_connection_says_so() {
    let events = "event: response.created\ndata: {\"type\":\"response.created\"}\n\nevent: response.completed\ndata: {\"type\":\"response.completed\"}\n\n";
    let (backend, _) = remembering(format!("{STREAM_HEAD}{events}")).await;
    let api = Api::in_front_of(&backend.url).await;
    let body = r#"{"model":"coder","input":"hi","stream":true}"#;
    assert_eq!(api.post("/v1/responses", body).await.text().await.unwrap(), events);
}

#[tokio::test]
async fn a_stream_of_a_response_that_breaks_ends_with_an_error_in_its_own_shape() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let (backend, _) = remembering(format!("{head}9\r\ndata: 1\n\n\r\n")).await;
    let api = Api::in_front_of(&backend.url).await;
    let body = r#"{"model":"coder","input":"hi","stream":true}"#;
    let text = api.post("/v1/responses", body).await.text().await.unwrap();
    let last = text.strip_prefix("data: 1\n\nevent: error\ndata: ").unwrap_or_else(|| panic!("{text}"));
    let error: Value = serde_json::from_str(last.trim_end()).unwrap();
    assert_eq!((&error["type"], &error["code"]), (&"error".into(), &"backend_cut".into()));
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let (backend, last) = remembering(whole("200 OK", "application/json", ANSWER)).await;
    let api = Api::in_front_of(&backend.url).await;
    for (path, body, parameter) in [
        ("/v1/completions", r#"{"prompt":"x"}"#, "model"),
        ("/v1/responses", r#"{"model":7}"#, "model"),
        ("/v1/responses", r#"{"model":"coder","stream":"yes"}"#, "stream"),
        ("/v1/embeddings", r#"{"model":"coder"}"#, "input"),
    ] {
        let (status, _, document) = refusal(api.post(path, body).await).await;
        assert_eq!((status, document["error"]["param"].as_str()), (400, Some(parameter)), "{path}");
    }
    assert_eq!(*last.lock().unwrap(), "");
}
