//! A policy that is only compared with the one that serves.

use crate::support::{Api, Backend, Folder, bundle, chat, policy, whole};
use codecrucible_contract::{Access, ShadowAcknowledgement};

/// A service beside whose policy another one lies.
async fn beside(backend: &Backend, shadow: &str) -> Api {
    let folder = Folder::new();
    folder.write_bundle(&bundle(policy(&backend.url)));
    folder.write_shadow(shadow);
    Api::of(folder).await
}

fn seen(api: &Api) -> ShadowAcknowledgement {
    api.service.acknowledgement().shadow.unwrap()
}

fn counted(api: &Api, action: &str, difference: &str) -> u64 {
    api.service.metrics().shadow_comparisons.with_label_values(&[action, difference]).get()
}

#[tokio::test]
async fn each_request_is_compared_and_answered_as_before() {
    let backend = Backend::saying(whole("200 OK", "application/json", "{}")).await;
    let mut other = policy(&backend.url);
    other.backends[0].models[0].alias = Some("other".into());
    let api = beside(&backend, &bundle(other)).await;
    assert_eq!(api.chat(false).await.status(), 200);
    assert_eq!(counted(&api, "complete", "route"), 1);
    let absent = api.post("/v1/chat/completions", chat("none", false).to_string()).await;
    assert_eq!(absent.status(), 404);
    assert_eq!(counted(&api, "complete", "none"), 1, "under both there is no such model");
    let ShadowAcknowledgement { comparisons, differences, refused, .. } = seen(&api);
    assert_eq!((comparisons, differences, refused), (2, 1, None));
}

#[tokio::test]
async fn who_may_and_who_speaks_is_compared_too() {
    let backend = Backend::saying(whole("200 OK", "application/json", "{}")).await;
    let mut closed = policy(&backend.url);
    closed.access = Some(Access {
        namespace: "team".into(),
        documents: vec![codecrucible_contract::AccessDocument {
            name: "nobody".into(),
            enforcement: codecrucible_contract::Enforcement::Enforce,
            rules: Vec::new(),
        }],
    });
    let api = beside(&backend, &bundle(closed)).await;
    assert_eq!(api.chat(false).await.status(), 200);
    assert_eq!(counted(&api, "complete", "access"), 1);

    let mut terse = policy(&backend.url);
    terse.synthesis.max_tokens_per_voice = 1;
    let api = beside(&backend, &bundle(terse)).await;
    let task = |more: &str| format!("{{\"task\": \"write\", \"voices\": [\"developer\"]{more}}}");
    api.post("/v1/synthesis", task("")).await;
    assert_eq!((counted(&api, "synthesize", "synthesis"), counted(&api, "synthesize", "none")), (1, 1));
    api.post("/v1/synthesis", task(", \"max_tokens\": 1")).await;
    assert_eq!(counted(&api, "synthesize", "synthesis"), 1, "one token is one token under both");
}

#[tokio::test]
async fn one_that_is_bad_is_refused_alone() {
    let backend = Backend::saying(whole("200 OK", "application/json", "{}")).await;
    let api = beside(&backend, "{").await;
    assert_eq!(api.chat(false).await.status(), 200);
    assert!(seen(&api).refused.unwrap().contains("does not parse"));
    assert_eq!(api.service.acknowledgement().refused, None);
}
