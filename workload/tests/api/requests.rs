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
