//! Pages of other origins that use the API from a browser.

use crate::support::{Api, Backend, chat, policy, whole};
use codecrucible_contract as contract;
use reqwest::{Method, Response};

const PAGE: &str = "https://app.example.com";

async fn allowing(origins: &[&str]) -> (Backend, Api) {
    let backend = Backend::saying(whole("200 OK", "application/json", "{}")).await;
    let allowed_origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
    let api = Api::under(contract::Policy { allowed_origins, ..policy(&backend.url) }).await;
    (backend, api)
}

async fn preflight(api: &Api, origin: &str) -> Response {
    let request = api.http.request(Method::OPTIONS, format!("{}/v1/chat/completions", api.base));
    let request = request.header("origin", origin).header("access-control-request-method", "POST");
    request.header("access-control-request-headers", "authorization,x-stainless-os").send().await.unwrap()
}

async fn ask(api: &Api, origin: &str, token: &str) -> Response {
    let request = api.http.post(format!("{}/v1/chat/completions", api.base)).bearer_auth(token);
    request.header("origin", origin).body(chat("coder", false).to_string()).send().await.unwrap()
}

fn header(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_ask_and_read_the_answer_and_errors_too() {
    let (_backend, api) = allowing(&[PAGE]).await;
    let may = preflight(&api, PAGE).await;
    assert_eq!(may.status(), 204);
    assert_eq!(header(&may, "access-control-allow-origin").as_deref(), Some(PAGE));
    assert_eq!(header(&may, "access-control-allow-headers").unwrap(), "authorization,x-stainless-os");
    assert_eq!(header(&may, "access-control-allow-methods").unwrap(), "GET, POST");
    for (token, status) in [(&*api.token, 200), ("nobody", 401)] {
        let answer = ask(&api, PAGE, token).await;
        assert_eq!(answer.status(), status);
        assert_eq!(header(&answer, "access-control-allow-origin").as_deref(), Some(PAGE));
        assert!(header(&answer, "access-control-expose-headers").unwrap().contains("x-request-id"));
        assert_eq!(header(&answer, "access-control-allow-credentials"), None);
    }
}

#[tokio::test]
async fn a_page_of_another_origin_is_told_nothing() {
    let (_backend, api) = allowing(&[PAGE]).await;
    for origin in ["https://app.example.com.evil.example", "http://app.example.com", "null", "*"] {
        let refused = preflight(&api, origin).await;
        assert_eq!(refused.status(), 405);
        let answer = ask(&api, origin, &api.token).await;
        assert_eq!(answer.status(), 200, "it is for the browser to keep it from the page");
        for response in [refused, answer] {
            assert_eq!(header(&response, "access-control-allow-origin"), None, "{origin}");
        }
    }
}

#[tokio::test]
async fn without_origins_nothing_is_said_of_them_and_with_all_each_is_allowed() {
    let (_backend, api) = allowing(&[]).await;
    assert_eq!(preflight(&api, PAGE).await.status(), 405);
    let answer = ask(&api, PAGE, &api.token).await;
    assert_eq!((header(&answer, "access-control-allow-origin"), header(&answer, "vary")), (None, None));
    let (_backend, api) = allowing(&["*"]).await;
    assert_eq!(header(&preflight(&api, PAGE).await, "access-control-allow-origin").as_deref(), Some(PAGE));
}

#[tokio::test]
async fn what_an_answer_is_nobody_has_to_guess() {
    let (_backend, api) = allowing(&[]).await;
    let answer = ask(&api, PAGE, "nobody").await;
    assert_eq!(header(&answer, "x-content-type-options").as_deref(), Some("nosniff"));
    assert_eq!(header(&answer, "strict-transport-security"), None, "nothing is encrypted here");
    assert_eq!(header(&answer, "server"), None);
}
