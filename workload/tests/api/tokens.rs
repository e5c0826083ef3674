//! Tokens: how one is had, and which are refused.

use crate::support::{Api, Backend, refusal, whole};

async fn api() -> (Backend, Api) {
    let backend = Backend::saying(whole("200 OK", "application/json", "{}")).await;
    let api = Api::in_front_of(&backend.url).await;
    (backend, api)
}

#[tokio::test]
async fn every_v1_route_wants_a_token() {
    let (_backend, api) = api().await;
    for path in ["/v1/models", "/v1/models/coder"] {
        let response = api.http.get(format!("{}{path}", api.base)).send().await.unwrap();
        assert_eq!(refusal(response).await.0, 401, "{path}");
    }
    for path in
        ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/synthesis"]
    {
        let response = api.http.post(format!("{}{path}", api.base)).body("{}").send().await.unwrap();
        assert!(response.headers().contains_key("www-authenticate"));
        assert_eq!(refusal(response).await.0, 401, "{path}");
    }
}

#[tokio::test]
async fn forged_tokens_are_refused_alike() {
    let (_backend, api) = api().await;
    let parts: Vec<&str> = api.token.split('.').collect();
    // {"alg":"none","typ":"at+jwt"}
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{}.", parts[1]);
    let cut = api.token[..api.token.len() - 8].to_owned();
    let other = Api::in_front_of("http://127.0.0.1:9/v1").await;
    for token in [none, cut, other.token.clone(), "x".into(), "x".repeat(20_000)] {
        let response =
            api.http.get(format!("{}/v1/models", api.base)).bearer_auth(token).send().await.unwrap();
        let (status, code, document) = refusal(response).await;
        assert_eq!((status, code.as_str()), (401, "invalid_api_key"));
        assert_eq!(document["error"]["type"], "authentication_error");
    }
}

#[tokio::test]
async fn a_client_gets_a_token_by_form_or_basic_and_it_works() {
    let (_backend, api) = api().await;
    let url = format!("{}/oauth/token", api.base);
    let secret = api.folder.client_secret();
    let form = format!("grant_type=client_credentials&client_id=local&client_secret={secret}");
    let request = || api.http.post(&url).header("content-type", "application/x-www-form-urlencoded");
    let by_form = request().body(form).send().await.unwrap();
    assert_eq!(by_form.headers()["cache-control"], "no-store");
    let by_basic = request()
        .basic_auth("local", Some(&secret))
        .body("grant_type=client_credentials")
        .send()
        .await
        .unwrap();
    for answer in [by_form, by_basic] {
        assert_eq!(answer.status(), 200);
        let answer: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(
            (answer["token_type"].as_str(), answer["expires_in"].as_u64()),
            (Some("Bearer"), Some(900))
        );
        let token = answer["access_token"].as_str().unwrap();
        let models = api.http.get(format!("{}/v1/models", api.base)).bearer_auth(token).send().await.unwrap();
        assert_eq!(models.status(), 200);
    }
}

#[tokio::test]
async fn refused_clients_learn_nothing() {
    let (_backend, api) = api().await;
    let url = format!("{}/oauth/token", api.base);
    let ask = |body: String| {
        let request =
            api.http.post(&url).header("content-type", "application/x-www-form-urlencoded").body(body);
        async move {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        }
    };
    let secret = api.folder.client_secret();
    let wrong_secret = ask("grant_type=client_credentials&client_id=local&client_secret=x".into()).await;
    let wrong_client =
        ask(format!("grant_type=client_credentials&client_id=ghost&client_secret={secret}")).await;
    assert_eq!(wrong_secret, wrong_client);
    assert_eq!(wrong_secret.0, 401);
    assert!(wrong_secret.1.contains("invalid_client"));
    assert!(ask("grant_type=password".into()).await.1.contains("unsupported_grant_type"));
    assert!(ask(String::new()).await.1.contains("invalid_request"));
}

#[tokio::test]
async fn the_published_keys_hold_nothing_private() {
    let (_backend, api) = api().await;
    let keys = api
        .http
        .get(format!("{}/.well-known/jwks.json", api.base))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let keys: serde_json::Value = serde_json::from_str(&keys).unwrap();
    let mut fields: Vec<&str> = keys["keys"][0].as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["alg", "e", "kid", "kty", "n", "use"]);
}
