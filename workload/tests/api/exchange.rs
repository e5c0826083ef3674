//! By what a request is known, and what is told of it.

use crate::program::Program;
use crate::support::{Api, Backend, Folder, STREAM_HEAD, bundle, chat, one_after_the_other, policy, whole};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Notify, mpsc};

const ANSWER: &str = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#;
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A backend that remembers what it was asked.
async fn remembering() -> (Backend, Arc<Mutex<String>>) {
    let asked = Arc::<Mutex<String>>::default();
    let heard = Arc::clone(&asked);
    let backend = Backend::doing(move |mut stream, request| {
        *heard.lock().unwrap() = request.to_lowercase();
        async move {
            let _ = stream.write_all(whole("200 OK", "application/json", ANSWER).as_bytes()).await;
        }
    })
    .await;
    (backend, asked)
}

fn header(response: &reqwest::Response, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn a_request_and_its_trace_are_known_by_the_same_names_everywhere() {
    let (backend, asked) = remembering().await;
    let api = Api::in_front_of(&backend.url).await;
    let request = api.http.post(format!("{}/v1/chat/completions", api.base)).bearer_auth(&api.token);
    let request = request.header("x-request-id", "order-7").header("traceparent", PARENT);
    let answer = request.body(chat("coder", false).to_string()).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "x-request-id")), (200, "order-7".into()));
    let asked = asked.lock().unwrap().clone();
    assert!(asked.contains("x-request-id: order-7\r\n"), "{asked}");
    let parent = asked.lines().find_map(|line| line.strip_prefix("traceparent: ")).unwrap();
    assert!(
        parent.starts_with(&PARENT[..36]) && parent != PARENT,
        "another part of the same trace: {parent}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_of_a_stream_that_breaks_and_of_an_attempt_that_fails_by_the_requests_name() {
    let breaking = Backend::saying(format!("{STREAM_HEAD}data: {{\"x\":1}}\n\n")).await;
    let failing = Backend::saying(whole("500 No", "application/json", "{}")).await;
    let folder = Folder::new();
    let mut policy = one_after_the_other(&[&failing.url, &breaking.url]);
    policy.observability.access_log.sample_percent = 0;
    folder.write_bundle(&bundle(policy));
    let program = Program::start(&folder);
    let client = program.client(&folder).await;
    let answer = client.chat(true).header("x-request-id", "order-7").send().await.unwrap();
    assert!(answer.text().await.unwrap().contains("backend_cut"));
    let line = program.says("not all went well at once");
    let tried = line["attempts"].as_str().unwrap();
    assert!(tried.starts_with("b0 error with status 500 after "), "{line}");
    assert_eq!(line["request_id"], "order-7");
    let line = program.says("request");
    let said = (line["status"].as_u64(), line["trouble"].as_str(), line["is_whole"].as_bool());
    assert_eq!(said, (Some(200), Some("cut"), Some(false)), "{line}");
    assert_eq!((&line["backend"], &line["request_id"]), (&"b1".into(), &"order-7".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_of_a_stream_that_outlasts_the_service() {
    let begun = format!("{STREAM_HEAD}data: {{\"x\":1}}\n\n");
    let endless = Backend::doing(move |mut stream, _| {
        let begun = begun.clone();
        async move {
            stream.write_all(begun.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        }
    })
    .await;
    let folder = Folder::new();
    let mut policy = policy(&endless.url);
    policy.backends[0].timeouts.idle_ms = 60_000;
    policy.backends[0].timeouts.total_ms = 60_000;
    folder.write_bundle(&bundle(policy));
    let program = Program::start_with(&folder, &["--grace-seconds", "0"]);
    let answer = program.client(&folder).await.chat(true).send().await.unwrap();
    program.terminate();
    assert!(answer.text().await.unwrap().contains("server_stopping"));
    let line = loop {
        let line = program.says("request");
        if line["route"] == "/v1/chat/completions" {
            break line;
        }
    };
    assert_eq!((&line["trouble"], &line["is_whole"]), (&"stopping".into(), &false.into()), "{line}");
}

#[tokio::test]
async fn who_names_no_request_gets_a_name_for_it_also_where_it_fails() {
    let backend = Backend::saying(whole("200 OK", "application/json", ANSWER)).await;
    let api = Api::in_front_of(&backend.url).await;
    let refused = api.http.get(format!("{}/v1/models", api.base)).send().await.unwrap();
    assert_eq!((refused.status().as_u16(), header(&refused, "x-request-id").len()), (401, 32));
    let answered = api.chat(false).await;
    assert_ne!(header(&answered, "x-request-id"), header(&refused, "x-request-id"));
    assert!(header(&answered, "x-codecrucible-overhead-us").parse::<u64>().is_ok());
}

#[tokio::test]
async fn the_time_of_a_backend_is_not_the_services_own() {
    const MEANWHILE: usize = 300;
    let (is_asked, mut asked) = mpsc::unbounded_channel();
    let may_answer = Arc::new(Notify::new());
    let released = Arc::clone(&may_answer);
    let backend = Backend::doing(move |mut stream, _| {
        let (is_asked, released) = (is_asked.clone(), Arc::clone(&released));
        async move {
            is_asked.send(()).unwrap();
            released.notified().await;
            let _ = stream.write_all(whole("200 OK", "application/json", ANSWER).as_bytes()).await;
        }
    })
    .await;
    let mut policy = policy(&backend.url);
    policy.backends[0].timeouts.first_byte_ms = 60_000;
    policy.backends[0].timeouts.total_ms = 60_000;
    let folder = Folder::new();
    folder.write_bundle(&bundle(policy));
    let api = Api::of(folder).await;
    let (begin, held) = (Instant::now(), async {
        asked.recv().await.unwrap();
        let begin = Instant::now();
        // The backend takes as long as all these do.
        for _ in 0..MEANWHILE {
            api.http.get(format!("{}/livez", api.base)).send().await.unwrap();
        }
        let held = begin.elapsed();
        may_answer.notify_one();
        held
    });
    let (answer, held) = tokio::join!(api.chat(false), held);
    let own = Duration::from_micros(header(&answer, "x-codecrucible-overhead-us").parse().unwrap());
    assert!(own + held <= begin.elapsed(), "{own:?} beside {held:?}");
}

#[tokio::test]
async fn what_is_counted_goes_on_under_another_policy() {
    let backend = Backend::saying(whole("200 OK", "application/json", ANSWER)).await;
    let api = Api::in_front_of(&backend.url).await;
    let counted = |series: &str| {
        let text = api.metrics();
        text.lines()
            .find_map(|line| line.strip_prefix(series)?.trim().parse::<u64>().ok())
            .unwrap_or_default()
    };
    let tokens =
        |kind: &str| counted(&format!("codecrucible_model_tokens_total{{kind=\"{kind}\",model=\"coder\"}}"));
    for chats in 1..=2 {
        let mut policy = policy(&backend.url);
        policy.backends[0].timeouts.first_byte_ms += chats;
        api.apply(policy);
        api.chat(false).await.text().await.unwrap();
        // Told when the connection has taken all of the answer.
        let waited = tokio::time::timeout(Duration::from_secs(30), async {
            while tokens("completion") < 4 * chats {
                tokio::task::yield_now().await;
            }
        });
        waited.await.unwrap();
        let attempts = counted("codecrucible_backend_answers_total{backend=\"remote\",outcome=\"answered\"}");
        assert_eq!((tokens("prompt"), tokens("completion"), attempts), (3 * chats, 4 * chats, chats));
    }
}

#[tokio::test]
async fn each_route_is_counted_under_its_own_name() {
    let (backend, _) = remembering().await;
    let api = Api::in_front_of(&backend.url).await;
    let posted = [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/embeddings",
        "/v1/messages",
        "/v1/synthesis",
        "/oauth/token",
    ];
    for path in posted {
        api.http.post(format!("{}{path}", api.base)).send().await.unwrap();
    }
    for path in ["/v1/models", "/v1/models/org/coder", "/.well-known/jwks.json", "/livez", "/elsewhere"] {
        api.http.get(format!("{}{path}", api.base)).send().await.unwrap();
    }
    let metrics = api.metrics();
    let counted =
        metrics.lines().filter_map(|line| line.strip_prefix("codecrucible_requests_total{route=\""));
    let mut counted: Vec<_> = counted.filter_map(|line| line.split_once('"')).collect();
    counted.sort_unstable();
    let refused = posted.iter().map(|path| (*path, if *path == "/oauth/token" { "400" } else { "401" }));
    let read = [("/v1/models", "401"), ("/v1/models/{*model}", "401"), ("/.well-known/jwks.json", "200")];
    let mut expected: Vec<_> =
        refused.chain(read).map(|(route, status)| (route, format!(",status=\"{status}\"}} 1"))).collect();
    expected.sort_unstable();
    assert_eq!(counted, expected.iter().map(|(route, rest)| (*route, &**rest)).collect::<Vec<_>>());
}
