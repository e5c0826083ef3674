//! Who may do what, over the wire.

use crate::support::{Api, Backend, Folder, bundle, policy, refusal, whole};
use codecrucible_contract::{Access, AccessDocument, AccessRule, Enforcement};
use serde_json::Value;

const ANSWER: &str = r#"{"choices":[{"message":{"role":"assistant","content":"hi"}}]}"#;

/// A service with one enforced rule.
async fn ruled(backend: &Backend, cedar: &str) -> Api {
    let rule = AccessRule { id: "statements[0]".into(), cedar: cedar.into() };
    let document =
        AccessDocument { name: "team".into(), enforcement: Enforcement::Enforce, rules: vec![rule] };
    let access = Some(Access { namespace: "team".into(), documents: vec![document] });
    let folder = Folder::new();
    folder.write_bundle(&bundle(codecrucible_contract::Policy { access, ..policy(&backend.url) }));
    Api::of(folder).await
}

async fn answering() -> Backend {
    Backend::saying(whole("200 OK", "application/json", ANSWER)).await
}

async fn models(api: &Api) -> Vec<String> {
    let list = api.http.get(format!("{}/v1/models", api.base)).bearer_auth(&api.token).send().await.unwrap();
    let list: Value = list.json().await.unwrap();
    list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_client_may_do_just_what_a_rule_permits() {
    let backend = answering().await;
    let api = ruled(
        &backend,
        r#"permit (principal == Client::"local", action == Action::"complete", resource == Model::"coder");"#,
    )
    .await;
    assert_eq!(api.chat(false).await.status(), 200);
    let (status, code, document) =
        refusal(api.post("/v1/synthesis", r#"{"task": "write", "model": "coder"}"#).await).await;
    assert_eq!((status, &*code), (403, "not_permitted"));
    assert_eq!(document["error"]["type"], "permission_error");
    assert_eq!(document["error"]["param"], "model");
    assert!(
        !document.to_string().contains("statements"),
        "how it was decided is not for clients: {document}"
    );
    assert_eq!(models(&api).await, [""; 0], "it may not see the list");
    let show = format!("{}/v1/models/coder", api.base);
    let hidden = api.http.get(show).bearer_auth(&api.token).send().await.unwrap();
    assert_eq!(hidden.status(), 404);
}

#[tokio::test]
async fn the_other_end_of_the_connection_is_what_an_address_is_compared_with() {
    let backend = answering().await;
    let from = |range: &str| {
        format!(
            r#"permit (principal, action, resource) when {{ context.address.isInRange(ip("{range}")) }};"#
        )
    };
    let near = ruled(&backend, &from("127.0.0.0/8")).await;
    assert_eq!(near.chat(false).await.status(), 200);
    assert_eq!(models(&near).await, ["coder"]);
    let far = ruled(&backend, &from("10.0.0.0/8")).await;
    let spoofed = far
        .http
        .post(format!("{}/v1/chat/completions", far.base))
        .bearer_auth(&far.token)
        .header("x-forwarded-for", "10.1.1.1")
        .body(crate::support::chat("coder", false).to_string());
    assert_eq!(refusal(spoofed.send().await.unwrap()).await.0, 403, "a header is not believed");
}
