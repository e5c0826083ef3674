//! Streams that several clients read along, of which a backend sends one.

use crate::cache::{caching, question, rule, until};
use crate::limits::limit;
use crate::support::{Api, Backend, STREAM_HEAD};
use codecrucible_contract::{Limit, Unit};
use reqwest::StatusCode;
use serde_json::json;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const BEGIN: &str = "data: {\"begin\":1}\n\n";
const END: &str = "data: {\"end\":1}\n\ndata: [DONE]\n\n";

/// A service whose backend streams as a test has it, and the connections over which it is asked.
struct Scene {
    api: Arc<Api>,
    /// Ends with the value.
    _backend: Backend,
    asked: mpsc::UnboundedReceiver<TcpStream>,
}

impl Scene {
    async fn new() -> Self {
        Self::within(Vec::new()).await
    }

    async fn within(limits: Vec<Limit>) -> Self {
        let (is_asked, asked) = mpsc::unbounded_channel();
        let backend = Backend::doing(move |stream, _| {
            let is_asked = is_asked.clone();
            async move { is_asked.send(stream).unwrap() }
        })
        .await;
        let mut policy = caching(&backend.url, rule());
        policy.backends[0].timeouts.idle_ms = 60_000;
        policy.limits.rules = limits;
        Self { api: Arc::new(Api::under(policy).await), _backend: backend, asked }
    }

    /// The backend's side of the next request that it gets.
    async fn asked(&mut self) -> TcpStream {
        self.asked.recv().await.unwrap()
    }

    fn is_asked(&mut self) -> bool {
        self.asked.try_recv().is_ok()
    }

    /// Somebody who asks for the stream; comes back when it has begun.
    fn ask(&self) -> tokio::task::JoinHandle<reqwest::Response> {
        let api = Arc::clone(&self.api);
        tokio::spawn(async move {
            let mut question = question("a");
            question["stream"] = json!(true);
            api.post("/v1/chat/completions", question.to_string()).await
        })
    }

    async fn until_in_flight(&self, count: i64) {
        let in_flight = self.api.service.metrics().requests_in_flight.clone();
        until("so many are there", || in_flight.get() == count).await;
    }
}

async fn send(backend: &mut TcpStream, text: &str) {
    backend.write_all(text.as_bytes()).await.unwrap();
}

fn told(answer: &reqwest::Response) -> String {
    answer.headers()["cache-status"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn who_asks_for_what_another_one_is_streamed_reads_it_from_its_beginning() {
    let mut scene = Scene::new().await;
    let first = scene.ask();
    let mut backend = scene.asked().await;
    let early = scene.ask();
    scene.until_in_flight(2).await;
    send(&mut backend, &format!("{STREAM_HEAD}{BEGIN}")).await;
    let first = first.await.unwrap();
    let late = scene.ask().await.unwrap();
    let early = early.await.unwrap();
    assert_eq!(
        (told(&first), told(&early)),
        ("codecrucible; fwd=miss".into(), "codecrucible; fwd=miss; collapsed".into())
    );
    assert_eq!(
        (told(&late), late.headers()["x-codecrucible-route"].to_str().unwrap()),
        (told(&early), "cache=memory; attempts=0")
    );
    send(&mut backend, END).await;
    drop(backend);
    for answer in [first, early, late] {
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert_eq!(answer.text().await.unwrap(), [BEGIN, END].concat());
    }
    assert!(!scene.is_asked(), "nobody else asked");
}

#[tokio::test]
async fn the_one_who_asked_may_leave_and_when_all_have_left_the_backend_is() {
    let mut scene = Scene::new().await;
    let first = scene.ask();
    let mut backend = scene.asked().await;
    send(&mut backend, &format!("{STREAM_HEAD}{BEGIN}")).await;
    let (first, mut second) = (first.await.unwrap(), scene.ask().await.unwrap());
    drop(first);
    scene.until_in_flight(1).await;
    assert_eq!(second.chunk().await.unwrap().unwrap(), BEGIN.as_bytes());
    send(&mut backend, "data: {\"more\":1}\n\n").await;
    assert_eq!(second.chunk().await.unwrap().unwrap(), "data: {\"more\":1}\n\n".as_bytes());
    drop(second);
    assert_eq!(backend.read(&mut [0; 8]).await.unwrap_or(0), 0, "it is left");
}

#[tokio::test]
async fn the_one_who_asked_and_left_has_its_place_back_while_others_read() {
    let two = Limit { unit: Unit::ConcurrentRequests, limit: 2, burst: 2, ..limit("at-once", 2) };
    let mut scene = Scene::within(vec![two]).await;
    let first = scene.ask();
    let mut backend = scene.asked().await;
    send(&mut backend, &format!("{STREAM_HEAD}{BEGIN}")).await;
    let (first, second) = (first.await.unwrap(), scene.ask().await.unwrap());
    assert_eq!(scene.ask().await.unwrap().status(), 429);
    drop(first);
    scene.until_in_flight(1).await;
    assert_eq!((second.status(), scene.ask().await.unwrap().status()), (StatusCode::OK, StatusCode::OK));
}

#[tokio::test]
async fn a_stream_that_breaks_off_does_so_for_all_and_is_told() {
    let mut scene = Scene::new().await;
    let first = scene.ask();
    let mut backend = scene.asked().await;
    send(&mut backend, &format!("{STREAM_HEAD}{BEGIN}")).await;
    let (first, second) = (first.await.unwrap(), scene.ask().await.unwrap());
    drop(backend);
    for answer in [first, second] {
        let text = answer.text().await.unwrap();
        assert!(text.starts_with(BEGIN) && text.contains("\"error\"") && !text.contains("[DONE]"), "{text}");
    }
}

#[tokio::test]
async fn what_is_no_stream_is_nobody_elses() {
    let mut scene = Scene::new().await;
    let first = scene.ask();
    let mut backend = scene.asked().await;
    let second = scene.ask();
    scene.until_in_flight(2).await;
    let refused = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
    send(&mut backend, refused).await;
    assert_eq!(first.await.unwrap().status(), 400);
    let mut again = scene.asked().await;
    send(&mut again, &format!("{STREAM_HEAD}{BEGIN}{END}")).await;
    drop(again);
    assert_eq!(second.await.unwrap().text().await.unwrap(), [BEGIN, END].concat());
}
