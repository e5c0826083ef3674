//! Clients and backends that do not speak the same.

use crate::support::{Api, Backend, Folder, STREAM_HEAD, bundle, chat, policy, refusal, whole};
use codecrucible_contract as contract;
use contract::{BackendKind, Ollama, Protocol};
use serde_json::{Value, json};

const LINES_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\r\n";
const MESSAGE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Yes."}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":2}}"#;
const COMPLETION: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Yes."},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;
const BEGINNING: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Yes.\"}}\n\n";
const END: &str = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
const CHUNK: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Yes.\"}}]}\n\n";

fn speaking(backend: &Backend, protocol: Protocol) -> contract::Policy {
    let url = match protocol {
        Protocol::OpenAi => backend.url.clone(),
        Protocol::Anthropic | Protocol::Ollama(_) => backend.url.trim_end_matches("/v1").to_owned(),
    };
    let mut policy = policy(&url);
    let remote = contract::Remote { url, has_credential: false, protocol };
    policy.backends[0].kind = BackendKind::Remote(remote);
    policy
}

async fn in_front_of(backend: &Backend, protocol: Protocol) -> Api {
    Api::under(speaking(backend, protocol)).await
}

fn ollama() -> Protocol {
    Protocol::Ollama(Ollama { context_tokens: Some(8192), keep_alive_seconds: None })
}

fn cache_of_all() -> contract::Cache {
    let rule = contract::CacheRule {
        name: "all".into(),
        routes: vec![contract::CachedRoute::ChatCompletions],
        models: Vec::new(),
        namespaces: Vec::new(),
        requests: contract::CachedRequests::All,
        shared_by: contract::SharedBy::Client,
        ttl_ms: 60_000,
        epoch: 0,
    };
    contract::Cache {
        memory_bytes: 1 << 20,
        shared: None,
        rules: vec![rule],
        warm_up: Vec::new(),
        namespace: "us".into(),
    }
}

fn message(stream: bool) -> String {
    json!({"model": "coder", "max_tokens": 9, "stream": stream, "messages": [{"role": "user", "content": "hi"}]})
        .to_string()
}

/// The documents of a stream of OpenAI's, or the whole text if it does not end as one.
fn chunks(text: &str) -> Result<Vec<Value>, String> {
    let events = text.strip_suffix("data: [DONE]\n\n").ok_or_else(|| text.to_owned())?;
    Ok(events
        .split_terminator("\n\n")
        .map(|event| serde_json::from_str(&event["data: ".len()..]).unwrap())
        .collect())
}

fn text_of(chunks: &[Value]) -> String {
    chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect()
}

#[tokio::test]
async fn a_chat_is_asked_of_anthropics_api_with_its_key_and_answered_in_openais_shape() {
    let (backend, heard) = Backend::heard(whole("200 OK", "application/json", MESSAGE)).await;
    let mut policy = speaking(&backend, Protocol::Anthropic);
    let BackendKind::Remote(remote) = &mut policy.backends[0].kind else { panic!() };
    remote.has_credential = true;
    let folder = Folder::new();
    folder.write_bundle(&bundle(policy));
    folder.write_credential("remote", "sk-ant-1");
    let api = Api::of(folder).await;
    let answer: Value = api.chat(false).await.json().await.unwrap();
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(
        (&answer["choices"][0]["message"]["content"], &answer["model"]),
        (&json!("Yes."), &json!("coder"))
    );
    assert_eq!(answer["usage"]["total_tokens"], 5);
    let asked = heard.lock().unwrap()[0].to_lowercase();
    assert!(asked.starts_with("post /v1/messages http/1.1\r\n"), "{asked}");
    assert!(asked.contains("x-api-key: sk-ant-1\r\n") && asked.contains("anthropic-version: 2023-06-01\r\n"));
    assert!(!asked.contains("authorization:") && asked.contains(r#""model":"m""#), "{asked}");
}

#[tokio::test]
async fn streams_of_all_protocols_come_as_chunks_and_end_with_the_mark() {
    let lines = "{\"message\":{\"content\":\"Ye\"},\"done\":false}\n{\"message\":{\"content\":\"s.\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":3,\"eval_count\":2}\n";
    for (protocol, answer, path) in [
        (Protocol::Anthropic, format!("{STREAM_HEAD}{BEGINNING}{END}"), "/v1/messages"),
        (ollama(), format!("{LINES_HEAD}{lines}"), "/api/chat"),
    ] {
        let (backend, heard) = Backend::heard(answer).await;
        let api = in_front_of(&backend, protocol).await;
        let mut asked = chat("coder", true);
        asked["stream_options"] = json!({"include_usage": true});
        let answer = api.post("/v1/chat/completions", asked.to_string()).await;
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let chunks = chunks(&answer.text().await.unwrap()).unwrap();
        assert_eq!(text_of(&chunks), "Yes.");
        assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "stop");
        assert_eq!(chunks[chunks.len() - 1]["usage"]["total_tokens"], 5);
        assert!(heard.lock().unwrap()[0].starts_with(&format!("POST {path} ")), "{path}");
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_or_tells_of_an_error_has_no_end_in_any_dialect() {
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"at 10.1.2.3\"}}\n\n";
    for (protocol, answer) in [
        (Protocol::Anthropic, format!("{STREAM_HEAD}{BEGINNING}")),
        (Protocol::Anthropic, format!("{STREAM_HEAD}{BEGINNING}{error}")),
        (ollama(), format!("{LINES_HEAD}{{\"message\":{{\"content\":\"Yes.\"}},\"done\":false}}\n{{\"mess")),
        (
            ollama(),
            format!(
                "{LINES_HEAD}{{\"message\":{{\"content\":\"Yes.\"}},\"done\":false}}\n{{\"error\":\"at 10.1.2.3\"}}\n"
            ),
        ),
    ] {
        let backend = Backend::saying(answer.clone()).await;
        let api = in_front_of(&backend, protocol).await;
        let text = chunks(&api.chat(true).await.text().await.unwrap()).unwrap_err();
        assert!(
            text.contains("Yes.") && text.contains("backend_cut") && !text.contains("10.1.2.3"),
            "{answer}: {text}"
        );
        let text = api.post("/v1/messages", message(true)).await.text().await.unwrap();
        assert!(text.contains("Yes.") && !text.contains("message_stop"), "{answer}: {text}");
        assert!(
            text.contains("event: error\ndata: {") || text.contains("overloaded_error"),
            "{answer}: {text}"
        );
    }
}

#[tokio::test]
async fn a_message_is_answered_by_a_backend_that_knows_chats_only() {
    let (backend, heard) = Backend::heard(whole("200 OK", "application/json", COMPLETION)).await;
    let api = in_front_of(&backend, Protocol::OpenAi).await;
    let answer: Value = api.post("/v1/messages", message(false)).await.json().await.unwrap();
    assert_eq!((&answer["type"], &answer["model"]), (&json!("message"), &json!("coder")));
    assert_eq!(answer["content"], json!([{"type": "text", "text": "Yes."}]));
    assert_eq!((&answer["stop_reason"], &answer["usage"]["input_tokens"]), (&json!("end_turn"), &json!(3)));
    let asked = heard.lock().unwrap()[0].clone();
    assert!(
        asked.starts_with("POST /v1/chat/completions ") && asked.contains(r#""max_tokens":9"#),
        "{asked}"
    );
}

#[tokio::test]
async fn a_messages_stream_from_chunks_is_one_of_events_and_ends_only_with_the_mark() {
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";
    let (backend, heard) = Backend::heard(format!("{STREAM_HEAD}{CHUNK}{usage}data: [DONE]\n\n")).await;
    let api = in_front_of(&backend, Protocol::OpenAi).await;
    let text = api.post("/v1/messages", message(true)).await.text().await.unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let expected = [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(names, expected);
    assert!(text.contains(r#""output_tokens":2"#) && text.contains(r#""text":"Yes.""#), "{text}");
    assert!(heard.lock().unwrap()[0].contains(r#""include_usage":true"#));

    let cut = Backend::saying(format!("{STREAM_HEAD}{CHUNK}")).await;
    let api = in_front_of(&cut, Protocol::OpenAi).await;
    let text = api.post("/v1/messages", message(true)).await.text().await.unwrap();
    assert!(
        text.contains("\n\nevent: error\ndata: {\"type\":\"error\"") || text.contains("event: error"),
        "{text}"
    );
    assert!(!text.contains("message_stop"), "{text}");
}

#[tokio::test]
async fn messages_pass_byte_for_byte_to_who_speaks_them_and_a_cut_one_ends_with_an_error() {
    let (backend, heard) = Backend::heard(format!("{STREAM_HEAD}{BEGINNING}{END}")).await;
    let api = in_front_of(&backend, Protocol::Anthropic).await;
    let body = message(true).replace("coder", "m").replace("\"model\":\"m\"", "\"model\": \"coder\"");
    let request = api.http.post(format!("{}/v1/messages", api.base)).header("x-api-key", &api.token);
    let request = request.header("anthropic-version", "2024-01-01").header("anthropic-beta", "new-1,new-2");
    let answer = request.body(body.clone()).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), format!("{BEGINNING}{END}"));
    let asked = heard.lock().unwrap()[0].clone();
    assert!(asked.ends_with(&body.replace("\"coder\"", "\"m\"")), "{asked}");
    assert!(
        asked.contains("anthropic-beta: new-1,new-2\r\n")
            && asked.contains("anthropic-version: 2024-01-01\r\n")
    );
    assert!(!asked.contains(&api.token), "a client's token is for us alone");

    let cut = Backend::saying(format!("{STREAM_HEAD}{BEGINNING}")).await;
    let api = in_front_of(&cut, Protocol::Anthropic).await;
    let text = api.post("/v1/messages", message(true)).await.text().await.unwrap();
    let (passed, last) = text.split_at(BEGINNING.len());
    assert_eq!(passed, BEGINNING);
    assert!(last.starts_with("event: error\ndata: {") && last.contains(r#""type":"api_error""#), "{last}");
}

#[tokio::test]
async fn errors_are_in_the_clients_dialect_whoever_makes_them() {
    let refusing =
        whole("400 Bad Request", "application/json", r#"{"error":{"message":"too long","type":"x"}}"#);
    let backend = Backend::saying(refusing).await;
    let api = in_front_of(&backend, Protocol::OpenAi).await;
    let post = async |body: &str, token: &str| {
        let request = api.http.post(format!("{}/v1/messages", api.base)).header("x-api-key", token);
        let answer = request.body(body.to_owned()).send().await.unwrap();
        let (status, id) =
            (answer.status().as_u16(), answer.headers()["x-request-id"].to_str().unwrap().to_owned());
        let document: Value = answer.json().await.unwrap();
        assert_eq!((&document["type"], &document["request_id"]), (&json!("error"), &json!(id)), "{document}");
        (
            status,
            document["error"]["type"].as_str().unwrap().to_owned(),
            document["error"]["message"].as_str().unwrap().to_owned(),
        )
    };
    let of_backend = post(&message(false), &api.token).await;
    assert_eq!(of_backend, (400, "invalid_request_error".into(), "too long".into()));
    assert_eq!(post(&message(false).replace("coder", "ghost"), &api.token).await.1, "not_found_error");
    assert_eq!(post(&message(false), "wrong").await.1, "authentication_error");
    assert_eq!(post("{}", &api.token).await.1, "invalid_request_error");
    let unknown = api.post("/v1/messages/count_tokens", "{}").await.json::<Value>().await.unwrap();
    assert_eq!(
        (&unknown["type"], &unknown["error"]["details"]["error_code"]),
        (&json!("error"), &json!("route_not_found"))
    );

    let busy =
        Backend::saying("HTTP/1.1 529 Overloaded\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n").await;
    let api = in_front_of(&busy, Protocol::Anthropic).await;
    let answer = api.chat(false).await;
    assert_eq!(answer.headers()["retry-after"], "7");
    assert_eq!(refusal(answer).await.1, "backend_busy");
}

#[tokio::test]
async fn what_a_backend_cannot_do_is_asked_of_another_one_or_named() {
    let picture = json!([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]);
    let mut asked = chat("coder", false);
    asked["messages"][0]["content"] = picture;
    let (speaks_openai, _) = Backend::heard(whole("200 OK", "application/json", COMPLETION)).await;
    let unused = Backend::saying(whole("200 OK", "application/json", "{}")).await;
    let mut policy = speaking(&unused, ollama());
    let api = Api::under(policy.clone()).await;
    let (status, _, document) = refusal(api.post("/v1/chat/completions", asked.to_string()).await).await;
    assert_eq!((status, &document["error"]["param"]), (400, &json!("messages[0].content")));
    assert_eq!(api.post("/v1/completions", r#"{"model":"coder","prompt":"x"}"#).await.status(), 200);

    let mut other = speaking(&speaks_openai, Protocol::OpenAi).backends.remove(0);
    other.name = "other".into();
    policy.backends.push(other);
    api.apply(policy);
    let answer = api.post("/v1/chat/completions", asked.to_string()).await;
    assert_eq!(answer.text().await.unwrap(), COMPLETION);
}

#[tokio::test]
async fn what_is_not_a_chat_goes_to_who_has_more_than_chats() {
    let (backend, heard) =
        Backend::heard(whole("200 OK", "application/json", r#"{"object":"list","data":[]}"#)).await;
    let body = r#"{"model":"coder","input":"x"}"#;
    let api = in_front_of(&backend, ollama()).await;
    assert_eq!(api.post("/v1/embeddings", body).await.status(), 200);
    assert!(heard.lock().unwrap()[0].starts_with("POST /v1/embeddings "));
    let api = in_front_of(&backend, Protocol::Anthropic).await;
    let (status, _, document) = refusal(api.post("/v1/embeddings", body).await).await;
    assert_eq!((status, &document["error"]["param"]), (400, &json!("model")));
}

#[tokio::test]
async fn a_synthesis_is_asked_of_any_of_them() {
    let lines = "{\"message\":{\"content\":\"```python\\ndef f(): pass\\n```\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":3,\"eval_count\":2}\n";
    let backend = Backend::saying(format!("{LINES_HEAD}{lines}")).await;
    let api = in_front_of(&backend, ollama()).await;
    let answer: Value = api
        .post("/v1/synthesis", r#"{"task":"Write f.","voices":["developer"]}"#)
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(answer["code"], "def f(): pass\n", "{answer}");
}

#[tokio::test]
async fn what_stands_after_the_end_of_messages_makes_them_no_less_whole() {
    let more = "data: [DONE]\n\n";
    let backend = Backend::saying(format!("{STREAM_HEAD}{BEGINNING}{END}{more}")).await;
    let api = in_front_of(&backend, Protocol::Anthropic).await;
    let text = api.post("/v1/messages", message(true)).await.text().await.unwrap();
    assert_eq!(text, format!("{BEGINNING}{END}{more}"));
}

#[tokio::test]
async fn a_call_without_an_id_gets_one_that_its_result_can_refer_to() {
    let line = r#"{"message":{"content":"","tool_calls":[{"function":{"name":"look","arguments":{"city":"Paris"}}}]},"done":true,"done_reason":"stop"}"#;
    let backend = Backend::saying(format!("{LINES_HEAD}{line}\n")).await;
    let api = in_front_of(&backend, ollama()).await;
    let chunks = chunks(&api.chat(true).await.text().await.unwrap()).unwrap();
    let call = |chunk: &Value| chunk["choices"][0]["delta"]["tool_calls"][0].clone();
    let calls: Vec<_> = chunks.iter().map(call).filter(Value::is_object).collect();
    assert!(calls[0]["id"].as_str().unwrap().starts_with("call_chatcmpl-"), "{calls:?}");
    assert_eq!(calls[0]["function"]["name"], "look");
    assert_eq!(calls[1]["function"]["arguments"], r#"{"city":"Paris"}"#);
    assert_eq!(chunks[chunks.len() - 1]["choices"][0]["finish_reason"], "tool_calls");
}

#[tokio::test]
async fn a_translated_stream_is_given_again_and_not_to_who_wants_it_otherwise() {
    let (backend, heard) = Backend::heard(format!("{STREAM_HEAD}{BEGINNING}{END}")).await;
    let mut policy = speaking(&backend, Protocol::Anthropic);
    policy.cache = Some(cache_of_all());
    let api = Api::under(policy).await;
    let first = api.chat(true).await.text().await.unwrap();
    assert_eq!(api.chat(true).await.text().await.unwrap(), first);
    assert_eq!(heard.lock().unwrap().len(), 1, "the second one is given again");
    for (beta, asked) in [("new-1", 2), ("new-1", 2), ("new-2", 3)] {
        let request = api.http.post(format!("{}/v1/messages", api.base)).header("x-api-key", &api.token);
        let request = request.header("anthropic-beta", beta).body(message(true));
        assert_eq!(request.send().await.unwrap().text().await.unwrap(), format!("{BEGINNING}{END}"));
        assert_eq!(heard.lock().unwrap().len(), asked, "{beta}");
    }
}

#[tokio::test]
async fn an_error_too_large_to_be_translated_passes_as_it_is() {
    let long = "x".repeat(2 << 20);
    let document = format!(r#"{{"error":{{"message":"{long}"}}}}"#);
    let backend = Backend::saying(whole("400 Bad Request", "application/json", &document)).await;
    let api = in_front_of(&backend, Protocol::Anthropic).await;
    assert_eq!(api.post("/v1/messages", message(false)).await.text().await.unwrap(), document);
    let api = in_front_of(&backend, Protocol::OpenAi).await;
    let answer: Value = api.post("/v1/messages", message(false)).await.json().await.unwrap();
    assert_eq!(answer["error"]["message"].as_str().unwrap().len(), 4096, "its own words are cut");
}

fn response(stream: bool) -> String {
    json!({"model": "coder", "stream": stream, "instructions": "Be short.", "max_output_tokens": 9, "input": "hi"}).to_string()
}

#[tokio::test]
async fn a_response_is_asked_of_a_backend_that_knows_chats_only() {
    let (backend, heard) = Backend::heard(whole("200 OK", "application/json", MESSAGE)).await;
    let api = in_front_of(&backend, Protocol::Anthropic).await;
    let answer: Value = api.post("/v1/responses", response(false)).await.json().await.unwrap();
    assert_eq!(
        (&answer["object"], &answer["status"], &answer["model"]),
        (&json!("response"), &json!("completed"), &json!("coder"))
    );
    assert_eq!(answer["output"][0]["content"][0]["text"], "Yes.");
    assert_eq!((&answer["usage"]["input_tokens"], &answer["usage"]["output_tokens"]), (&json!(3), &json!(2)));
    let asked = heard.lock().unwrap()[0].clone();
    assert!(
        asked.starts_with("POST /v1/messages ")
            && asked.contains("Be short.")
            && asked.contains("\"max_tokens\":9"),
        "{asked}"
    );
    let refused = json!({"model": "coder", "input": [{"type": "computer_call", "call_id": "c"}]}).to_string();
    let refused = api.post("/v1/responses", refused).await;
    assert_eq!(refused.status(), 400);
    assert_eq!(refused.json::<Value>().await.unwrap()["error"]["param"], "input[0].type");
    let format = json!({"model": "coder", "input": "x", "text": {"format": {"type": "json_object"}}});
    let refused: Value = api.post("/v1/responses", format.to_string()).await.json().await.unwrap();
    assert_eq!(refused["error"]["param"], "text.format", "as the client calls it");
    let format =
        json!({"model": "coder", "input": "x", "text": {"format": {"type": "json_object"}}}).to_string();
    let refused: Value = api.post("/v1/responses", format).await.json().await.unwrap();
    assert_eq!(refused["error"]["param"], "text.format", "as the client calls it");
}

#[tokio::test]
async fn the_events_of_a_response_end_with_it_or_with_an_error() {
    for (end, last) in [(END, "response.completed"), ("", "error")] {
        let backend = Backend::saying(format!("{STREAM_HEAD}{BEGINNING}{end}")).await;
        let api = in_front_of(&backend, Protocol::Anthropic).await;
        let text = api.post("/v1/responses", response(true)).await.text().await.unwrap();
        let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
        assert_eq!((names[0], names[names.len() - 1]), ("response.created", last), "{text}");
        assert!(text.contains("\"delta\":\"Yes.\"") && !text.contains("[DONE]"), "{text}");
    }
}
