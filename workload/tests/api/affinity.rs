//! Prompts that begin alike, and backends that keep what they have computed.

use crate::support::{Api, Backend, policy, whole};
use codecrucible_contract as contract;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const COMPLETION: &str = r#"{"choices":[{"message":{"content":"Yes."}}]}"#;

/// A service in front of three backends of one model.
async fn in_front_of(backend: &Backend, affinity: contract::Affinity) -> Api {
    let mut policy = policy(&backend.url);
    policy.routing.affinity = affinity;
    for name in ["second", "third"] {
        policy.backends.push(contract::Backend { name: name.into(), ..policy.backends[0].clone() });
    }
    Api::under(policy).await
}

/// Who answers a conversation.
async fn asked(api: &Api, messages: &[Value]) -> String {
    let body = json!({"model": "coder", "messages": messages}).to_string();
    let answer = api.post("/v1/chat/completions", body).await;
    answer.headers()["x-codecrucible-route"].to_str().unwrap().to_owned()
}

fn said(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

#[tokio::test]
async fn a_conversation_stays_with_its_backend_and_others_have_others() {
    let backend = Backend::saying(whole("200 OK", "application/json", COMPLETION)).await;
    let api = in_front_of(&backend, contract::Affinity::PromptPrefix).await;
    let mut all = BTreeSet::new();
    for topic in 0..20 {
        let mut messages = vec![said("system", "Be kind."), said("user", &format!("Tell me of {topic}."))];
        let first = asked(&api, &messages).await;
        assert!(first.ends_with("; attempts=1; by=prefix"), "{first}");
        for _ in 0..3 {
            messages.extend([said("assistant", "Well."), said("user", "Go on.")]);
            assert_eq!(asked(&api, &messages).await, first);
        }
        all.insert(first);
    }
    assert_eq!(all.len(), 3, "{all:?}");
}

#[tokio::test]
async fn without_affinity_the_same_prompt_goes_to_all() {
    let backend = Backend::saying(whole("200 OK", "application/json", COMPLETION)).await;
    let api = in_front_of(&backend, contract::Affinity::None).await;
    let mut all = BTreeSet::new();
    while all.len() < 3 {
        all.insert(asked(&api, &[said("user", "Hi.")]).await);
    }
    assert!(all.iter().all(|route| !route.contains("by=")), "{all:?}");
}
