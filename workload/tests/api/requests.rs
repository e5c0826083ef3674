//! Bad requests: each gets an answer in OpenAI's shape that names what is wrong.

use crate::support::{Api, Backend, chat, refusal, whole};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn api() -> (Backend, Api) {
    let backend = Backend::saying(whole("200 OK", "application/json", "{\"ok\":1}")).await;
    let api = Api::in_front_of(&backend.url).await;
    (backend, api)
}

#[tokio::test]
async fn a_body_reaches_the_backend_with_nothing_but_the_models_name_changed() {
    let backend = Backend::doing(|mut stream, request| async move {
        let body = request.split_once("\r\n\r\n").unwrap().1;
        let answer = whole("200 OK", "application/json", &serde_json::json!({"got": body}).to_string());
        tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await.unwrap();
    })
    .await;
    let api = Api::in_front_of(&backend.url).await;
    let body = |model: &str| {
        format!(
            "{{ \"messages\":[{{\"role\":\"user\",\"content\":\"\\u0041\"}}],\"model\":\"{model}\",\"x\":1.0}}"
        )
    };
    let answer = api.post("/v1/chat/completions", body("coder")).await.text().await.unwrap();
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["got"], body("m"));
}

#[tokio::test]
async fn malformed_bodies_are_bad_requests() {
    let (_backend, api) = api().await;
    let deep = format!("{{\"model\":\"coder\",\"messages\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
    for body in [
        b"".to_vec(),
        b"{".to_vec(),
        b"{\"model\":\"\xff\"}".to_vec(),
        deep.into_bytes(),
        json!({"model": "coder", "messages": []}).to_string().into_bytes(),
        json!({"model": "coder", "messages": "hello"}).to_string().into_bytes(),
        json!({"model": 7, "messages": [{"role": "user", "content": "x"}]}).to_string().into_bytes(),
        json!({"messages": [{"role": "user", "content": "x"}]}).to_string().into_bytes(),
    ] {
        let (status, code, document) = refusal(api.post("/v1/chat/completions", body.clone()).await).await;
        assert_eq!(
            (status, code.as_str()),
            (400, "invalid_request"),
            "{}: {document}",
            String::from_utf8_lossy(&body)
        );
        assert_eq!(document["error"]["type"], "invalid_request_error");
    }
}

#[tokio::test]
async fn a_model_in_a_path_that_is_no_text_is_a_bad_request() {
    let (_backend, api) = api().await;
    let show = format!("{}/v1/models/%FF", api.base);
    let (status, _, document) =
        refusal(api.http.get(show).bearer_auth(&api.token).send().await.unwrap()).await;
    assert_eq!((status, &document["error"]["param"]), (400, &json!("model")));
}

#[tokio::test]
async fn an_unknown_model_is_not_found_whatever_it_is_called() {
    let (_backend, api) = api().await;
    let long = "x".repeat(100_000);
    for model in ["ghost", "m", "", &long] {
        let (status, code, document) =
            refusal(api.post("/v1/chat/completions", chat(model, false).to_string()).await).await;
        assert_eq!((status, code.as_str()), (404, "model_not_found"));
        assert!(document.to_string().len() < 400);
    }
}

#[tokio::test]
async fn nine_megabytes_are_too_large_announced_or_not() {
    let (_backend, api) = api().await;
    let megabyte = vec![b' '; 1 << 20];
    let pieces = futures::stream::iter((0..9).map({
        let megabyte = megabyte.clone();
        move |_| Ok::<_, std::io::Error>(megabyte.clone())
    }));
    for body in [reqwest::Body::from(megabyte.repeat(9)), reqwest::Body::wrap_stream(pieces)] {
        let (status, code, document) = refusal(api.post("/v1/chat/completions", body).await).await;
        assert_eq!((status, code.as_str()), (413, "body_too_large"));
        assert!(document["error"]["message"].as_str().unwrap().contains("8388608 bytes"));
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_keeps_nobody_else_out_and_is_let_go() {
    let (_backend, api) = api().await;
    let address = api.base.strip_prefix("http://").unwrap();
    let mut silent = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut half = tokio::net::TcpStream::connect(address).await.unwrap();
    half.write_all(b"PRI * HTTP/2.0").await.unwrap();
    assert_eq!(api.chat(false).await.status(), 200);
    for client in [&mut silent, &mut half] {
        // Closed, or reset where words were left unread.
        assert_eq!(client.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }
}

/// What is answered to bytes on a connection of their own, until it is closed or waits for more.
async fn raw(api: &Api, bytes: &[u8]) -> String {
    let address = api.base.strip_prefix("http://").unwrap();
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    // It may be closed while there is more to say.
    let _ = client.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = client.read(&mut buffer).await {
        answer.extend_from_slice(&buffer[..count]);
        if answer.windows(4).any(|window| window == b"\r\n\r\n") {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_head_with_too_many_headers_or_too_long_ones_is_refused_and_nobody_else_notices() {
    let (_backend, api) = api().await;
    let head = |headers: &str| format!("GET /livez HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    let status = async |headers: &str| {
        let answer = raw(&api, head(headers).as_bytes()).await;
        answer.get(..12).unwrap_or_default().to_owned()
    };
    assert_eq!(status(&"x: y\r\n".repeat(90)).await, "HTTP/1.1 200");
    assert_eq!(status(&"x: y\r\n".repeat(110)).await, "HTTP/1.1 431");
    assert_eq!(status(&format!("x: {}\r\n", "y".repeat(32 * 1024))).await, "HTTP/1.1 200");
    for long in [format!("x: {}\r\n", "y".repeat(1024 * 1024)), "x: y\r\n".repeat(100_000)] {
        // Or the connection is gone before the answer is read.
        let told = status(&long).await;
        assert!(["HTTP/1.1 431", ""].contains(&&*told), "{told}");
    }
    assert_eq!(api.chat(false).await.status(), 200);
}

#[tokio::test]
async fn a_request_with_two_lengths_is_one_request_and_the_last_on_its_connection() {
    let (_backend, api) = api().await;
    let bytes = "POST /oauth/token HTTP/1.1\r\nhost: x\r\ncontent-length: 40\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n\
                 GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    let address = api.base.strip_prefix("http://").unwrap();
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    client.write_all(bytes.as_bytes()).await.unwrap();
    let mut answers = String::new();
    client.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused_in_the_same_shape() {
    let (_backend, api) = api().await;
    let get = |path: &str| api.http.get(format!("{}{path}", api.base)).bearer_auth(&api.token).send();
    assert_eq!(refusal(get("/v1/nothing").await.unwrap()).await.0, 404);
    assert_eq!(refusal(get("/v1/chat/completions").await.unwrap()).await.0, 405);
}

#[tokio::test]
async fn a_synthesis_names_its_wrong_fields() {
    let (_backend, api) = api().await;
    for (body, parameter) in [
        (json!({"task": ""}), "task"),
        (json!({"task": "x", "voices": ["nobody"]}), "voices[0]"),
        (json!({"task": "x", "max_tokens": 65}), "max_tokens"),
    ] {
        let (status, _, document) = refusal(api.post("/v1/synthesis", body.to_string()).await).await;
        assert_eq!((status, document["error"]["param"].as_str()), (400, Some(parameter)));
    }
    let unknown = json!({"task": "x", "model": "ghost"}).to_string();
    let (status, code, _) = refusal(api.post("/v1/synthesis", unknown).await).await;
    assert_eq!((status, code.as_str()), (404, "model_not_found"));
    let deep = format!("{{\"task\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for body in [
        deep.as_str(),
        "{\"task\":\"\u{0}",
        "{\"task\":\"x\",\"surprise\":1}",
        "{\"task\":\"x\",\"language\":\"cobol\"}",
        "[]",
    ] {
        assert_eq!(refusal(api.post("/v1/synthesis", body.to_owned()).await).await.0, 400, "{body:.80}");
    }
}
