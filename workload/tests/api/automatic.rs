//! Clients that leave it to the service which model answers.

use crate::limits::limit;
use crate::support::{Api, Backend, STREAM_HEAD, one_after_the_other, refusal, way, whole};
use codecrucible_contract as contract;
use contract::Tier;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const CODE: &str = "```python\ndef add(a, b):\n    return a + b\n```";
const BROKEN: &str = "```python\ndef add(a, b:\n    return\n```";

/// What a model says, and what it used for that.
fn saying(text: &str) -> String {
    let document = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7}});
    whole("200 OK", "application/json", &document.to_string())
}

/// A fast model that says one thing, and one of quality that says another.
struct Two {
    api: Api,
    fast: Arc<Mutex<Vec<String>>>,
    quality: Arc<Mutex<Vec<String>>>,
    _backends: [Backend; 2],
}

fn policy(fast: &str, quality: &str) -> contract::Policy {
    let mut policy = one_after_the_other(&[fast, quality]);
    let names = [("small", Tier::Fast), ("big", Tier::Quality)];
    for (backend, (name, tier)) in policy.backends.iter_mut().zip(names) {
        backend.priority = 0;
        backend.models =
            vec![contract::Model { name: name.into(), tier: Some(tier), ..contract::Model::default() }];
    }
    let (fast_below_percent, quality_above_percent) = (10, 39);
    policy.routing.automatic =
        Some(contract::Automatic { model: "auto".into(), fast_below_percent, quality_above_percent });
    policy
}

impl Two {
    async fn saying(fast: String, quality: String) -> Self {
        let ((small, fast), (big, quality)) = (Backend::heard(fast).await, Backend::heard(quality).await);
        let api = Api::under(policy(&small.url, &big.url)).await;
        Self { api, fast, quality, _backends: [small, big] }
    }

    async fn ask(&self, text: &str) -> reqwest::Response {
        self.api.post("/v1/chat/completions", question(text).to_string()).await
    }

    /// How often each was asked.
    fn asked(&self) -> (usize, usize) {
        (self.fast.lock().unwrap().len(), self.quality.lock().unwrap().len())
    }
}

fn question(text: &str) -> Value {
    json!({"model": "auto", "messages": [{"role": "user", "content": text}]})
}

const EASY: &str = "Write add(a, b).";
const BETWEEN: &str = "Write add(a, b) without a race, and prove it.";
const HARD: &str =
    "Refactor this distributed transaction design so that it scales, and prove that it has no deadlock.";

#[tokio::test]
async fn what_is_easy_goes_to_a_fast_model_and_what_is_hard_to_one_of_quality() {
    let two = Two::saying(saying(CODE), saying(CODE)).await;
    let easy = way(&two.ask(EASY).await);
    assert_eq!(easy, (200, "backend=b0; attempts=1; model=small; complexity=0".into()));
    let hard = way(&two.ask(HARD).await);
    assert_eq!(hard, (200, "backend=b1; attempts=1; model=big; complexity=40".into()));
    assert_eq!(two.asked(), (1, 1));
    assert!(two.quality.lock().unwrap()[0].contains("\"model\":\"big\""));
}

#[tokio::test]
async fn what_is_between_goes_on_to_the_model_of_quality_only_if_the_answer_falls_short() {
    let two = Two::saying(saying(CODE), saying(CODE)).await;
    let answered = way(&two.ask(BETWEEN).await);
    assert_eq!(answered, (200, "backend=b0; attempts=1; model=small; complexity=16".into()));
    assert_eq!(two.asked(), (1, 0));

    let two = Two::saying(saying(BROKEN), saying(CODE)).await;
    let answer = two.ask(BETWEEN).await;
    let route = "backend=b1; attempts=2; short=unparsable; model=big; complexity=16";
    assert_eq!(way(&answer), (200, route.into()));
    let document: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(document["choices"][0]["message"]["content"], CODE);
    // Both were paid for.
    let metrics = two.api.metrics();
    assert!(
        metrics.contains("codecrucible_model_tokens_total{kind=\"completion\",model=\"big\"} 14"),
        "{metrics}"
    );
}

#[tokio::test]
async fn where_the_model_of_quality_does_not_answer_what_fell_short_is_better_than_nothing() {
    for instead in ["500", "429", "400", "404"] {
        let instead = whole(&format!("{instead} No"), "application/json", "{}");
        let two = Two::saying(saying(BROKEN), instead).await;
        let answer = two.ask(BETWEEN).await;
        assert_eq!(answer.status(), 200);
        assert!(answer.text().await.unwrap().contains("def add"));
        assert!(two.asked().1 > 0);
    }
}

#[tokio::test]
async fn a_client_is_told_why_without_asking_and_may_say_what_kind_of_work_it_is() {
    let two = Two::saying(saying(CODE), saying(CODE)).await;
    let request =
        two.api.http.post(format!("{}/v1/chat/completions", two.api.base)).bearer_auth(&two.api.token);
    let request = request.header("x-codecrucible-dry-run", "true").header("x-codecrucible-task", "review");
    let told = request.body(question(BETWEEN).to_string()).send().await.unwrap();
    let told: Value = serde_json::from_str(&told.text().await.unwrap()).unwrap();
    let why = &told["automatic"];
    assert_eq!(
        (&why["complexity"]["percent"], &why["complexity"]["parts"][3]),
        (&json!(16), &json!({"name": "words", "points": 16}))
    );
    assert_eq!(
        (&why["task"], &why["model"], &why["if_short"]),
        (&json!("review"), &json!("small"), &json!("big"))
    );
    assert_eq!(told["order"], json!(["b0"]));
    assert_eq!(two.asked(), (0, 0));
}

#[tokio::test]
async fn the_name_is_listed_and_is_for_chats_only() {
    let two = Two::saying(saying(CODE), saying(CODE)).await;
    for path in ["/v1/models", "/v1/models/auto"] {
        let list = two.api.http.get(format!("{}{path}", two.api.base)).bearer_auth(&two.api.token);
        assert!(list.send().await.unwrap().text().await.unwrap().contains("\"id\":\"auto\""));
    }
    let body = json!({"model": "auto", "input": "x"}).to_string();
    let (status, _, error) = refusal(two.api.post("/v1/embeddings", body).await).await;
    assert_eq!((status, error["error"]["param"].as_str()), (400, Some("model")));
}

/// What a model says in Anthropic's way.
fn message(text: &str) -> String {
    let document = json!({"id": "m", "type": "message", "role": "assistant", "model": "x", "stop_reason": "end_turn", "stop_sequence": null,
        "content": [{"type": "text", "text": text}], "usage": {"input_tokens": 3, "output_tokens": 4}});
    whole("200 OK", "application/json", &document.to_string())
}

#[tokio::test]
async fn messages_are_judged_too_whether_they_pass_or_are_translated() {
    for is_translated in [false, true] {
        let fast = if is_translated { format!("{STREAM_HEAD}{}", events(BROKEN)) } else { message(BROKEN) };
        let ((small, _), (big, _)) = (Backend::heard(fast).await, Backend::heard(message(CODE)).await);
        let mut policy = policy(small.url.trim_end_matches("/v1"), big.url.trim_end_matches("/v1"));
        for (backend, url) in policy.backends.iter_mut().zip([&small.url, &big.url]) {
            let is_openai = is_translated && *url == small.url;
            let contract::BackendKind::Remote(remote) = &mut backend.kind else { panic!("it is remote") };
            if is_openai {
                remote.url.clone_from(url);
            } else {
                remote.protocol = contract::Protocol::Anthropic;
            }
        }
        let api = Api::under(policy).await;
        let body =
            json!({"model": "auto", "max_tokens": 99, "messages": [{"role": "user", "content": BETWEEN}]});
        let answer = api.post("/v1/messages", body.to_string()).await;
        let (status, route) = way(&answer);
        assert!(status == 200 && route.contains("short=unparsable; model=big"), "{route}");
        let document: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(document["content"][0]["text"], CODE);
    }
}

/// A text as a stream of OpenAI's.
fn events(text: &str) -> String {
    let chunk = json!({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "x",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]});
    format!("data: {chunk}\n\ndata: [DONE]\n\n")
}

#[tokio::test]
async fn a_wrong_task_is_refused_by_its_header() {
    let two = Two::saying(saying(CODE), saying(CODE)).await;
    let request =
        two.api.http.post(format!("{}/v1/chat/completions", two.api.base)).bearer_auth(&two.api.token);
    let request = request.header("x-codecrucible-task", "reviewing").body(question(EASY).to_string());
    let (status, _, error) = refusal(request.send().await.unwrap()).await;
    assert_eq!((status, error["error"]["param"].as_str()), (400, Some("x-codecrucible-task")));
}

#[tokio::test]
async fn a_limit_of_the_model_that_it_may_come_to_holds() {
    let ((small, _), (big, _)) = (Backend::heard(saying(CODE)).await, Backend::heard(saying(CODE)).await);
    let mut policy = policy(&small.url, &big.url);
    policy.limits.rules = vec![contract::Limit { models: vec!["big".into()], ..limit("big", 1) }];
    let api = Api::under(policy).await;
    let ask = |text| api.post("/v1/chat/completions", question(text).to_string());
    assert_eq!(ask(BETWEEN).await.status(), 200);
    assert_eq!(ask(BETWEEN).await.status(), 429);
    assert_eq!(ask(EASY).await.status(), 200);
}

#[tokio::test]
async fn a_model_that_a_client_may_not_use_is_neither_chosen_nor_asked_after_another_one() {
    let ((small, _), (big, heard)) =
        (Backend::heard(saying(BROKEN)).await, Backend::heard(saying(CODE)).await);
    let mut policy = policy(&small.url, &big.url);
    let cedar = r#"permit (principal, action == Action::"complete", resource == Model::"small");"#;
    let rule = contract::AccessRule { id: "statements[0]".into(), cedar: cedar.into() };
    let enforcement = contract::Enforcement::Enforce;
    let document = contract::AccessDocument { name: "team".into(), enforcement, rules: vec![rule] };
    policy.access = Some(contract::Access { namespace: "team".into(), documents: vec![document] });
    let api = Api::under(policy).await;
    for text in [BETWEEN, HARD] {
        let (status, route) = way(&api.post("/v1/chat/completions", question(text).to_string()).await);
        assert!(status == 200 && route.contains("; model=small;"), "{route}");
    }
    assert!(heard.lock().unwrap().is_empty());
    // It may list none.
    let list = api.http.get(format!("{}/v1/models", api.base)).bearer_auth(&api.token).send().await.unwrap();
    assert!(!list.text().await.unwrap().contains("auto"));
}
