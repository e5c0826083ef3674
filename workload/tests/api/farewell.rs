//! What clients see of the end of a service that still answers them.

use crate::support::{Api, Backend, chat, policy, refusal, whole};
use codecrucible_contract::Timeouts;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

/// A backend that says what is given and then nothing more; tells when it was asked, and again when nobody waits for it any more.
async fn never_ending(answer: &'static str) -> (Backend, mpsc::UnboundedReceiver<&'static str>) {
    let (told, heard) = mpsc::unbounded_channel();
    let backend = Backend::doing(move |mut stream, _| {
        let told = told.clone();
        async move {
            stream.write_all(answer.as_bytes()).await.unwrap();
            told.send("asked").unwrap();
            let _ = stream.read(&mut [0]).await;
            let _ = told.send("left");
        }
    })
    .await;
    (backend, heard)
}

/// A service that waits for its backend longer than a test lasts.
async fn patient(backend: &Backend) -> Api {
    const MS: u64 = 60_000;
    let mut policy = policy(&backend.url);
    policy.backends[0].timeouts = Timeouts { connect_ms: MS, first_byte_ms: MS, idle_ms: MS, total_ms: MS };
    Api::under(policy).await
}

/// The document of the last event, and whether a stream ended as if it was whole.
fn last_event(text: &str) -> (Value, bool) {
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    let data = last.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    (serde_json::from_str(data).unwrap(), text.contains("[DONE]"))
}

#[tokio::test]
async fn a_stream_that_outlasts_the_service_ends_with_an_event_that_says_so_and_its_backend_is_let_go() {
    let cut_in_the_middle =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {\"choices\":[]}\n\ndata: {\"cho";
    let (backend, mut heard) = never_ending(cut_in_the_middle).await;
    let api = patient(&backend).await;
    let stream = api.chat(true).await;
    assert_eq!(heard.recv().await, Some("asked"));
    api.stop();
    let text = stream.text().await.unwrap();
    let (last, is_whole) = last_event(&text);
    assert_eq!((last["error"]["code"].as_str(), is_whole), (Some("server_stopping"), false), "{text}");
    assert!(text.starts_with("data: {\"choices\":[]}\n\ndata: {\"cho\n\n"), "{text}");
    assert_eq!(heard.recv().await, Some("left"));
}

#[tokio::test]
async fn a_response_and_a_synthesis_are_told_in_their_own_shape() {
    let begun = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n\
        data: {\"type\":\"response.created\",\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
    let (backend, mut heard) = never_ending(begun).await;
    let api = patient(&backend).await;
    let response = json!({"model": "coder", "stream": true, "input": "hi"});
    let response = api.post("/v1/responses", response.to_string()).await;
    let synthesis = json!({"task": "add", "voices": ["developer"], "stream": true});
    let synthesis = api.post("/v1/synthesis", synthesis.to_string()).await;
    assert_eq!((heard.recv().await, heard.recv().await), (Some("asked"), Some("asked")));
    api.stop();
    let text = response.text().await.unwrap();
    assert!(text.contains("event: error\ndata: "), "{text}");
    assert_eq!(last_event(&text).0["code"], "server_stopping");
    let text = synthesis.text().await.unwrap();
    assert!(text.contains("event: error\ndata: "), "{text}");
    assert_eq!(last_event(&text).0["error"]["code"], "server_stopping");
}

#[tokio::test]
async fn whoever_waits_for_a_whole_answer_is_told_to_ask_again() {
    let (backend, mut heard) = never_ending("").await;
    let api = patient(&backend).await;
    let (answer, ()) = tokio::join!(api.chat(false), async {
        assert_eq!(heard.recv().await, Some("asked"));
        api.stop();
    });
    assert!(answer.headers().contains_key("retry-after"));
    let (status, code, _) = refusal(answer).await;
    assert_eq!((status, code.as_str()), (503, "server_stopping"));
    assert_eq!(heard.recv().await, Some("left"));
}

#[tokio::test]
async fn before_it_stops_a_service_answers_and_asks_clients_to_open_their_next_connection_elsewhere() {
    let backend = Backend::saying(whole("200 OK", "application/json", "{}")).await;
    let api = Api::in_front_of(&backend.url).await;
    assert!(!api.chat(false).await.headers().contains_key("connection"));
    api.service.start_draining();
    let answer = api.post("/v1/chat/completions", chat("coder", false).to_string()).await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["connection"]), (200, &"close".parse().unwrap()));
}
