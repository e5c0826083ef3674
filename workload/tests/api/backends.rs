//! Backends that misbehave: the client always learns it, and never an address.

use crate::support::{Api, Backend, STREAM_HEAD, chat, refusal, whole};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

async fn chat_refusal(backend: &Backend, stream: bool) -> (u16, String) {
    let api = Api::in_front_of(&backend.url).await;
    let (status, code, document) = refusal(api.chat(stream).await).await;
    assert!(!document.to_string().contains("127.0.0.1"), "{document}");
    (status, code)
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_a_bad_gateway() {
    let closed = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/v1", closed.local_addr().unwrap());
    drop(closed);
    let api = Api::in_front_of(&url).await;
    let (status, code, document) = refusal(api.chat(false).await).await;
    assert_eq!((status, code.as_str()), (502, "backend_unreachable"));
    assert!(!document.to_string().contains("127.0.0.1"));
}

#[tokio::test]
async fn a_backend_that_hangs_is_a_gateway_timeout() {
    let backend = Backend::doing(|stream, _| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    assert_eq!(chat_refusal(&backend, false).await, (504, "backend_timeout".into()));
    assert_eq!(chat_refusal(&backend, true).await, (504, "backend_timeout".into()));
}

#[tokio::test]
async fn a_backend_that_answers_html_or_nonsense_is_a_bad_gateway() {
    let html = Backend::saying(whole("200 OK", "text/html", "<html>http://10.1.2.3/</html>")).await;
    assert_eq!(chat_refusal(&html, false).await, (502, "backend_protocol".into()));
    assert_eq!(chat_refusal(&html, true).await, (502, "backend_protocol".into()));
    let nonsense = Backend::saying("hello\r\n\r\n").await;
    assert_eq!(chat_refusal(&nonsense, false).await.0, 502);
    let cut = Backend::saying(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{\"a\"",
    )
    .await;
    assert_eq!(chat_refusal(&cut, false).await, (502, "backend_cut".into()));
}

#[tokio::test]
async fn a_refused_credential_is_our_trouble_and_not_the_clients() {
    let refused = Backend::saying(whole("401 Unauthorized", "application/json", "{\"error\":{}}")).await;
    assert_eq!(chat_refusal(&refused, false).await, (502, "backend_credential".into()));
    let broken = Backend::saying(whole(
        "500 Internal Server Error",
        "application/json",
        "{\"error\":\"at 10.0.0.7\"}",
    ))
    .await;
    assert_eq!(chat_refusal(&broken, false).await, (502, "backend_refused".into()));
}

#[tokio::test]
async fn what_a_backend_says_about_the_request_is_passed_on() {
    let answer = "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nretry-after: 7\r\ncontent-length: 34\r\n\r\n{\"error\":{\"message\":\"slow down\"}}\n";
    let backend = Backend::saying(answer).await;
    let api = Api::in_front_of(&backend.url).await;
    let response = api.chat(false).await;
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (429, "7"));
    assert!(response.text().await.unwrap().contains("slow down"));
}

#[tokio::test]
async fn a_whole_stream_arrives_byte_for_byte() {
    let events = "data: {\"x\":1}\n\ndata: [DONE]\n\n";
    let backend = Backend::saying(format!("{STREAM_HEAD}{events}")).await;
    let api = Api::in_front_of(&backend.url).await;
    let response = api.chat(true).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.text().await.unwrap(), events);
}

#[tokio::test]
async fn a_stream_that_is_cut_or_stalls_ends_with_an_error_and_without_done() {
    let cut = Backend::saying(format!("{STREAM_HEAD}data: {{\"x\":1}}\n\n")).await;
    let stalled = Backend::doing(|mut stream, _| async move {
        stream.write_all(format!("{STREAM_HEAD}data: {{\"x\":1}}\n\n").as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    for (backend, code) in [(cut, "backend_cut"), (stalled, "backend_timeout")] {
        let api = Api::in_front_of(&backend.url).await;
        let text = api.chat(true).await.text().await.unwrap();
        let (first, last) = text.trim_end().split_once("\n\n").unwrap();
        assert_eq!(first, "data: {\"x\":1}");
        let error: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(error["error"]["code"], code);
        assert!(!text.contains("[DONE]"));
    }
}

#[tokio::test]
async fn a_request_is_in_flight_until_its_stream_ends_or_its_client_is_gone() {
    let endless = Backend::doing(|mut stream, _| async move {
        stream.write_all(format!("{STREAM_HEAD}data: {{\"x\":1}}\n\n").as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let api = Api::in_front_of(&endless.url).await;
    let in_flight = || api.service.metrics().requests_in_flight.get();
    let mut answer = api.chat(true).await;
    assert!(answer.chunk().await.unwrap().is_some());
    assert_eq!(in_flight(), 1);
    drop(answer);
    let gone = async {
        while in_flight() != 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("nothing is in flight any more");
    let refused = api.post("/v1/chat/completions", "{").await;
    assert_eq!(refused.status(), 400);
    drop(refused);
    assert_eq!(in_flight(), 0);
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_the_backend() {
    let task = json!({"task": "x", "voices": ["developer"], "stream": true});
    for (path, body) in [("/v1/chat/completions", chat("coder", true)), ("/v1/synthesis", task)] {
        hang_up(path, body.to_string()).await;
    }
}

async fn hang_up(path: &str, body: String) {
    let (told, mut hung_up) = mpsc::channel(1);
    let backend = Backend::doing(move |mut stream, _| {
        let told = told.clone();
        async move {
            let piece = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
            stream.write_all(format!("{STREAM_HEAD}{piece}").as_bytes()).await.unwrap();
            // Ends when the other side closes.
            while stream.read(&mut [0; 64]).await.is_ok_and(|count| count > 0) {}
            told.send(()).await.unwrap();
        }
    })
    .await;
    let api = Api::in_front_of(&backend.url).await;
    let mut response = api.post(path, body).await;
    assert!(response.chunk().await.unwrap().is_some());
    drop(response);
    tokio::time::timeout(Duration::from_secs(10), hung_up.recv()).await.expect("the backend is cancelled");
}

#[tokio::test]
async fn voices_that_fail_are_told_and_a_synthesis_without_any_answer_fails() {
    let answer = |content: &str| {
        let chunk = json!({"choices": [{"delta": {"content": content}, "finish_reason": null}]});
        format!("{STREAM_HEAD}data: {chunk}\n\ndata: [DONE]\n\n")
    };
    let good = answer("```python\ndef add(a, b):\n    return a + b\n```");
    // Only the voice `security` is refused.
    let backend = Backend::doing(move |mut stream, request| {
        let good = good.clone();
        async move {
            let reply =
                if request.contains("hostile") { whole("500 No", "application/json", "{}") } else { good };
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    })
    .await;
    let api = Api::in_front_of(&backend.url).await;
    let task = json!({"task": "Write a Python function add(a, b)."}).to_string();
    let answer = api.post("/v1/synthesis", task.clone()).await;
    assert_eq!(answer.status(), 200);
    let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(answer["winner"], "developer");
    assert_eq!(answer["candidates"][0]["score"]["total"], 100);
    assert_eq!(answer["candidates"][1]["status"], "failed");

    let broken = Backend::saying(whole("500 No", "application/json", "{}")).await;
    let api = Api::in_front_of(&broken.url).await;
    assert_eq!(refusal(api.post("/v1/synthesis", task.clone()).await).await.0, 502);
    let streamed = json!({"task": "x", "stream": true}).to_string();
    let text = api.post("/v1/synthesis", streamed).await.text().await.unwrap();
    assert!(text.contains("event: voice.finished") && text.contains("event: error\n"), "{text}");
    assert!(!text.contains("synthesis.finished"));
}

#[tokio::test]
async fn voices_whose_backend_hangs_or_cuts_fail_with_the_reason() {
    let hanging = Backend::doing(|stream, _| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let cut = Backend::saying(STREAM_HEAD).await;
    for (backend, expected) in [(hanging, (504, "backend_timeout")), (cut, (502, "backend_cut"))] {
        let api = Api::in_front_of(&backend.url).await;
        let answer = api.post("/v1/synthesis", json!({"task": "x"}).to_string()).await;
        let (status, code, _) = refusal(answer).await;
        assert_eq!((status, code.as_str()), expected);
    }
}

#[tokio::test]
async fn many_clients_at_once_are_all_answered() {
    let backend = Backend::saying(whole("200 OK", "application/json", "{\"ok\":1}")).await;
    let api = Api::in_front_of(&backend.url).await;
    let body = chat("coder", false).to_string();
    let answers =
        futures::future::join_all((0..200).map(|_| api.post("/v1/chat/completions", body.clone()))).await;
    assert!(answers.iter().all(|answer| answer.status() == 200));
}
