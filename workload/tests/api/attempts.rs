//! Several backends for one model: who is asked, in which order, and what happens when one does not answer.

use crate::support::{
    Api, Backend, Folder, STREAM_HEAD, bundle, chat, one_after_the_other, policy, refusal, way, whole,
};
use codecrucible_contract as contract;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;

const ANSWER: &str = "{\"choices\":[]}";
const EVENTS: &str = "data: {\"x\":1}\n\ndata: [DONE]\n\n";

/// A backend that counts who asks it.
struct Counted {
    backend: Backend,
    asked: Arc<AtomicUsize>,
}

impl Counted {
    async fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let (answer, asked) = (answer.into(), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&asked);
        let backend = Backend::doing(move |mut stream, _| {
            counter.fetch_add(1, Ordering::Relaxed);
            let answer = answer.clone();
            async move {
                let _ = stream.write_all(&answer).await;
            }
        })
        .await;
        Self { backend, asked }
    }

    async fn healthy() -> Self {
        Self::saying(whole("200 OK", "application/json", ANSWER)).await
    }

    async fn failing() -> Self {
        Self::saying(whole("500 No", "application/json", "{}")).await
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn api(policy: contract::Policy) -> Api {
    let folder = Folder::new();
    folder.write_bundle(&bundle(policy));
    Api::of(folder).await
}

async fn address_of_nobody() -> String {
    let closed = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    format!("http://{}/v1", closed.local_addr().unwrap())
}

#[tokio::test]
async fn who_does_not_answer_is_passed_over_before_the_first_byte() {
    let good = Backend::saying(whole("200 OK", "application/json", ANSWER)).await;
    let hanging = Backend::doing(|stream, _| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let html = Backend::saying(whole("200 OK", "text/html", "<html/>")).await;
    let credential = Backend::saying(whole("401 No", "application/json", "{}")).await;
    let cut =
        Backend::saying("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{")
            .await;
    let nobody = address_of_nobody().await;
    for url in [&nobody, &hanging.url, &html.url, &credential.url, &cut.url] {
        let api = api(one_after_the_other(&[url, &good.url])).await;
        let response = api.chat(false).await;
        assert_eq!(way(&response), (200, "backend=b1; attempts=2".into()), "{url}");
        assert_eq!(response.text().await.unwrap(), ANSWER);
    }
}

#[tokio::test]
async fn a_stream_that_ends_before_its_first_event_is_taken_up_by_another_one_and_later_by_nobody() {
    let good = Counted::saying(format!("{STREAM_HEAD}{EVENTS}")).await;
    let empty = Backend::saying(STREAM_HEAD).await;
    let api_of_empty = api(one_after_the_other(&[&empty.url, &good.backend.url])).await;
    let response = api_of_empty.chat(true).await;
    assert_eq!(way(&response), (200, "backend=b1; attempts=2".into()));
    assert_eq!(response.text().await.unwrap(), EVENTS);
    assert_eq!(good.asked(), 1);

    let cut = Backend::saying(format!("{STREAM_HEAD}data: {{\"x\":1}}\n\n")).await;
    let api_of_cut = api(one_after_the_other(&[&cut.url, &good.backend.url])).await;
    let text = api_of_cut.chat(true).await.text().await.unwrap();
    assert!(text.contains("backend_cut") && !text.contains("[DONE]"), "{text}");
    assert_eq!(good.asked(), 1, "nothing is spliced");
}

#[tokio::test]
async fn voices_are_heard_by_whoever_answers() {
    let nobody = address_of_nobody().await;
    let chunk = "data: {\"choices\":[{\"delta\":{\"content\":\"x = 1\"}}]}\n\ndata: [DONE]\n\n";
    let good = Backend::saying(format!("{STREAM_HEAD}{chunk}")).await;
    let api = api(one_after_the_other(&[&nobody, &good.url])).await;
    let response = api.post("/v1/synthesis", "{\"task\":\"x\",\"voices\":[\"developer\"]}").await;
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn what_is_wrong_with_the_request_itself_no_other_one_is_asked() {
    let refusing = Backend::saying(whole("422 No", "application/json", "{\"error\":{}}")).await;
    let other = Counted::healthy().await;
    let api = api(one_after_the_other(&[&refusing.url, &other.backend.url])).await;
    assert_eq!(way(&api.chat(false).await), (422, "backend=b0; attempts=1".into()));
    assert_eq!(other.asked(), 0);
}

#[tokio::test]
async fn who_asks_for_patience_is_left_alone_that_long() {
    let answer = "HTTP/1.1 429 No\r\ncontent-type: application/json\r\nretry-after: 600\r\ncontent-length: 2\r\n\r\n{}";
    let (busy, other) = (Counted::saying(answer).await, Counted::healthy().await);
    let both = api(one_after_the_other(&[&busy.backend.url, &other.backend.url])).await;
    assert_eq!(way(&both.chat(false).await), (200, "backend=b1; attempts=2".into()));
    assert_eq!(way(&both.chat(false).await), (200, "backend=b1; attempts=1".into()));
    assert_eq!((busy.asked(), other.asked()), (1, 2));

    let alone = api(policy(&busy.backend.url)).await;
    let told = alone.chat(false).await;
    assert_eq!((told.status().as_u16(), told.headers()["retry-after"].to_str().unwrap()), (429, "600"));
    let (status, code, _) = refusal(alone.chat(false).await).await;
    assert_eq!((status, code.as_str()), (503, "backend_resting"));
    assert_eq!(busy.asked(), 2, "it was not asked again");
}

fn left_alone_after(failures: u32, open_for_ms: u64) -> contract::CircuitBreaker {
    contract::CircuitBreaker { error_rate_percent: 75, minimum_requests: failures, open_for_ms }
}

#[tokio::test]
async fn one_that_keeps_failing_is_left_alone() {
    let failing = Counted::failing().await;
    let mut policy = policy(&failing.backend.url);
    policy.backends[0].circuit_breaker = left_alone_after(5, 60_000);
    let api = api(policy).await;
    for _ in 0..5 {
        assert_eq!(api.chat(false).await.status(), 502);
    }
    let resting = api.chat(false).await;
    let wait: u64 = resting.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(refusal(resting).await.1, "backend_resting");
    assert_eq!(failing.asked(), 5);
}

/// The beginning of a stream.
fn begun() -> String {
    format!("{STREAM_HEAD}data: {{\"choices\":[{{\"delta\":{{\"content\":\"x\"}}}}]}}\n\n")
}

/// How often streams of the backend broke in this way.
fn broken(api: &Api, reason: &str) -> Option<u64> {
    let name =
        format!("codecrucible_backend_answers_broken_total{{backend=\"remote\",reason=\"{reason}\"}} ");
    api.metrics().lines().find_map(|line| line.strip_prefix(&name)?.parse().ok())
}

#[tokio::test]
async fn streams_that_break_are_counted_and_their_backend_is_asked_all_the_same() {
    // What passes through, and what is put otherwise for its client.
    for path in ["/v1/chat/completions", "/v1/messages"] {
        let breaking = Counted::saying(begun()).await;
        let mut policy = policy(&breaking.backend.url);
        policy.backends[0].circuit_breaker = left_alone_after(2, 60_000);
        let api = api(policy).await;
        let mut question = chat("coder", true);
        question["max_tokens"] = 9.into();
        for _ in 0..5 {
            let answer = api.post(path, question.to_string()).await;
            // Clients can have it break.
            assert_eq!(answer.status(), 200);
            let text = answer.text().await.unwrap();
            assert!(text.contains("backend_cut"), "{text}");
        }
        assert_eq!(broken(&api, "cut"), Some(5), "{path}");
        let served = api.service.served().read();
        assert_eq!((served.requests, served.failed), (5, 5), "{path}");
    }
}

#[tokio::test]
async fn a_voice_that_breaks_off_is_counted_too() {
    let breaking = Backend::saying(begun()).await;
    let api = api(policy(&breaking.url)).await;
    let answer = api.post("/v1/synthesis", "{\"task\":\"x\",\"voices\":[\"developer\"]}").await;
    assert_eq!((answer.status().as_u16(), broken(&api, "cut")), (502, Some(1)));
    let streamed = "{\"task\":\"x\",\"voices\":[\"developer\"],\"stream\":true}";
    let answer = api.post("/v1/synthesis", streamed).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.unwrap().contains("backend_cut"));
    let served = api.service.served().read();
    assert_eq!((broken(&api, "cut"), served.requests, served.failed), (Some(2), 2, 2));
}

#[tokio::test]
async fn what_falls_silent_is_told_from_what_takes_too_long_in_all() {
    let begun = begun();
    let stalling = Backend::doing(move |mut stream, _| {
        let begun = begun.clone();
        async move {
            stream.write_all(begun.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        }
    })
    .await;
    for (idle_ms, total_ms, reason, failed) in
        [(100, 60_000, "timeout", 1), (60_000, 1_000, "total_timeout", 0)]
    {
        let mut policy = policy(&stalling.url);
        let timeouts = &mut policy.backends[0].timeouts;
        (timeouts.idle_ms, timeouts.total_ms) = (idle_ms, total_ms);
        let api = api(policy).await;
        let text = api.chat(true).await.text().await.unwrap();
        assert!(text.contains("backend_timeout"), "{text}");
        assert_eq!((broken(&api, reason), api.service.served().read().failed), (Some(1), failed), "{reason}");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_told_so_and_nobody_else_is_asked_for_it() {
    let much = format!("{{\"x\":\"{}\"}}", "x".repeat(16 << 20));
    let backends = [(); 2].map(|()| Counted::saying(whole("200 OK", "application/json", &much)));
    let [one, other] = futures::future::join_all(backends).await.try_into().ok().unwrap();
    let api = api(one_after_the_other(&[&one.backend.url, &other.backend.url])).await;
    let (status, code, _) = refusal(api.chat(false).await).await;
    assert_eq!((status, code.as_str()), (502, "backend_answer_too_large"));
    assert_eq!((one.asked(), other.asked()), (1, 0));
}

#[tokio::test]
async fn one_that_was_left_alone_comes_back_when_it_works_again() {
    let works = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&works);
    let recovering = Backend::doing(move |mut stream, _| {
        let status = if flag.load(Ordering::Relaxed) { "200 OK" } else { "500 No" };
        async move {
            let _ = stream.write_all(whole(status, "application/json", ANSWER).as_bytes()).await;
        }
    })
    .await;
    let mut policy = policy(&recovering.url);
    policy.backends[0].circuit_breaker = left_alone_after(5, 100);
    let api = api(policy).await;
    for _ in 0..5 {
        assert_eq!(api.chat(false).await.status(), 502);
    }
    works.store(true, Ordering::Relaxed);
    let recovered = async {
        while api.chat(false).await.status() != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), recovered).await.expect("it comes back");
}

#[tokio::test]
async fn one_that_had_a_moments_trouble_is_asked_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let moody = Backend::doing(move |mut stream, _| {
        let is_first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if !is_first {
                let _ = stream.write_all(whole("200 OK", "application/json", ANSWER).as_bytes()).await;
            }
        }
    })
    .await;
    let api = api(policy(&moody.url)).await;
    assert_eq!(way(&api.chat(false).await), (200, "backend=remote; attempts=2".into()));
}

#[tokio::test]
async fn what_clients_do_wrong_never_shuts_a_backend() {
    for status in ["400 No", "404 No", "413 No", "422 No"] {
        let refusing = Counted::saying(whole(status, "text/html", "<html/>")).await;
        let mut policy = policy(&refusing.backend.url);
        policy.backends[0].circuit_breaker = left_alone_after(1, 60_000);
        let api = api(policy).await;
        for _ in 0..3 {
            let (told, code, _) = refusal(api.chat(false).await).await;
            assert_eq!((told.to_string().as_str(), code.as_str()), (&status[..3], "backend_refused"));
            let task = "{\"task\":\"x\",\"voices\":[\"developer\"]}";
            assert_eq!(refusal(api.post("/v1/synthesis", task).await).await.1, "backend_refused");
        }
        assert_eq!(refusing.asked(), 6);
    }
}

#[tokio::test]
async fn a_model_that_one_backend_does_not_know_another_one_may() {
    let unknowing = Backend::saying(whole("404 No", "application/json", "{\"error\":{}}")).await;
    let good = Counted::healthy().await;
    let both = api(one_after_the_other(&[&unknowing.url, &good.backend.url])).await;
    assert_eq!(way(&both.chat(false).await), (200, "backend=b1; attempts=2".into()));
    let alone = api(policy(&unknowing.url)).await;
    assert_eq!(way(&alone.chat(false).await), (404, "backend=remote; attempts=1".into()));
}

#[tokio::test]
async fn without_a_budget_nothing_is_tried_twice() {
    let (broken, other) = (Counted::failing().await, Counted::healthy().await);
    let mut policy = one_after_the_other(&[&broken.backend.url, &other.backend.url]);
    policy.routing.retry_budget_percent = 0;
    let api = api(policy).await;
    assert_eq!(way(&api.chat(false).await), (502, "backend=b0; attempts=1".into()));
    assert_eq!((broken.asked(), other.asked()), (1, 0));
}

#[tokio::test]
async fn backends_are_never_asked_more_than_the_budget_allows() {
    let broken = Counted::failing().await;
    let mut policy = one_after_the_other(&[&broken.backend.url, &broken.backend.url, &broken.backend.url]);
    for backend in &mut policy.backends {
        backend.circuit_breaker.minimum_requests = 10_000;
    }
    let begin = Instant::now();
    let api = api(policy).await;
    for _ in 0..100 {
        assert_eq!(api.chat(false).await.status(), 502);
    }
    // 100, ten in reserve, a fifth of 100, and one for each second that this took.
    let most = 130 + usize::try_from(begin.elapsed().as_secs()).unwrap();
    assert!((130..=most).contains(&broken.asked()), "{} of at most {most}", broken.asked());
    assert!(api.service.metrics().models.retries_over_budget.get() > 0);
}

#[tokio::test]
async fn a_backend_has_a_stream_until_it_ends_or_its_client_is_gone() {
    let endless = Backend::doing(|mut stream, _| async move {
        stream.write_all(format!("{STREAM_HEAD}data: 1\n\n").as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let api = api(policy(&endless.url)).await;
    let in_flight = || {
        let snapshot = api.service.snapshot();
        snapshot.routes.of_model("coder").unwrap().targets[0].backend.health().in_flight()
    };
    let mut streams = vec![api.chat(true).await, api.chat(true).await];
    assert_eq!(in_flight(), 2);
    drop(streams.pop());
    let gone = async {
        while in_flight() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("one is gone");
}

#[tokio::test]
async fn a_backend_that_a_client_may_not_use_is_not_asked_in_need_either() {
    let (broken, forbidden) = (Counted::failing().await, Counted::healthy().await);
    let mut policy = one_after_the_other(&[&broken.backend.url, &forbidden.backend.url]);
    let permit = "permit (principal, action, resource in Backend::\"b0\");";
    policy.access = Some(contract::Access {
        namespace: "team".into(),
        documents: vec![contract::AccessDocument {
            name: "one".into(),
            enforcement: contract::Enforcement::Enforce,
            rules: vec![contract::AccessRule { id: "r".into(), cedar: permit.into() }],
        }],
    });
    let api = api(policy).await;
    assert_eq!(api.chat(false).await.status(), 502);
    assert_eq!(forbidden.asked(), 0);
    let absent = api.post("/v1/chat/completions", chat("none", false).to_string()).await;
    assert_eq!(absent.status(), 404);
}

#[tokio::test]
async fn where_more_than_a_share_of_equals_fails_all_are_asked_and_one_that_is_alone_is_left_alone() {
    let asked = |max_resting_percent, count: usize| async move {
        let failing = Backend::saying(whole("503 No", "application/json", "{}")).await;
        let mut policy = one_after_the_other(&vec![failing.url.as_str(); count]);
        policy.routing.max_resting_percent = max_resting_percent;
        for backend in &mut policy.backends {
            backend.priority = 0;
            backend.circuit_breaker.minimum_requests = 1;
        }
        let api = api(policy).await;
        let _ = api.chat(false).await;
        api.chat(false).await.status().as_u16()
    };
    assert_eq!(asked(100, 2).await, 503, "both are left alone");
    assert_eq!(asked(99, 2).await, 502, "one is asked");
    assert_eq!(asked(99, 1).await, 503, "there is nobody to be spared");
}
