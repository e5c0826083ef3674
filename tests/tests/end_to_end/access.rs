//! Who may do what: access policies that a service selects, in every replica, with an SDK that nobody changed.

use crate::support::{Namespace, eventually, run_with_sdk};
use codecrucible_tests::client::{Client, Credentials};
use codecrucible_tests::port_forward::PortForward;
use serde_json::{Value, json};

fn policy(name: &str, spec: &Value) -> String {
    json!({
        "apiVersion": "codecrucible.dev/v1alpha1", "kind": "AccessPolicy",
        "metadata": {"name": name, "labels": {"for": "demo"}}, "spec": spec,
    })
    .to_string()
}

/// All may see the list of models, and one client may chat.
fn spec(chatter: &str) -> Value {
    json!({
        "roles": [
            {"name": "reader", "permissions": [{"actions": ["ListModels"]}]},
            {"name": "chatter", "inherits": ["reader"], "permissions": [{"actions": ["Complete"]}]},
        ],
        "bindings": [
            {"role": "reader", "subjects": [{"kind": "Everyone"}]},
            {"role": "chatter", "subjects": [{"kind": "CodeCrucible", "name": chatter}]},
        ],
    })
}

fn select(namespace: &Namespace<'_>, change: &Value) {
    let change = json!({ "spec": change }).to_string();
    namespace.kubectl(&["patch", "codecrucible", "demo", "--type=merge", "-p", &change]).unwrap();
}

fn wait_for_policy(namespace: &Namespace<'_>, name: &str, type_: &str, expected: &str) -> String {
    let object = format!("accesspolicy/{name}");
    eventually(&format!("{object} has {type_}={expected}"), || {
        namespace.condition_of(&object, type_).0 == expected
    });
    namespace.condition_of(&object, type_).1
}

fn access_in_force(namespace: &Namespace<'_>) -> Vec<String> {
    let status = namespace.get("codecrucible/demo").unwrap()["status"].clone();
    let in_force = status["policy"]["access"].as_array().cloned().unwrap_or_default();
    in_force.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

/// What each replica says of itself.
fn metrics(namespace: &Namespace<'_>) -> Vec<String> {
    let pods = namespace.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].metadata.name}"]).unwrap();
    let path = |pod: &str| format!("/api/v1/namespaces/{}/pods/{pod}:9090/proxy/metrics", namespace.name);
    pods.split(' ').filter_map(|pod| namespace.kubectl(&["get", "--raw", &path(pod)]).ok()).collect()
}

#[test]
fn a_service_goes_by_the_policies_that_it_selects_and_says_when_every_replica_does() {
    let namespace = Namespace::new("access");
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    select(&namespace, &json!({"replicas": 2}));
    namespace.apply(&policy("team", &spec("demo"))).unwrap();
    let message = wait_for_policy(&namespace, "team", "Ready", "True/NotSelected");
    assert!(message.starts_with("no CodeCrucible"), "{message}");

    namespace.wait_until_ready("demo");
    let forward = PortForward::start(namespace.cluster, &namespace.name, "service/demo", 8080).unwrap();
    let credentials = Credentials::in_secret(namespace.cluster, &namespace.name, "demo-client").unwrap();
    let client = Client::authenticate(&forward.url(), &credentials).unwrap();
    let status = |path: &str, body: &Value| client.post(path, body).unwrap().status().as_u16();
    let synthesis = || status("/v1/synthesis", &json!({"task": "write"}));
    assert_ne!(synthesis(), 403, "nothing is ruled yet");

    select(&namespace, &json!({"policySelector": {"matchLabels": {"for": "demo"}}}));
    let message = wait_for_policy(&namespace, "team", "Ready", "True/Applied");
    assert_eq!(message, "1 of 1 services run it in all of their ready replicas");
    assert_eq!(access_in_force(&namespace), ["team"]);
    assert_eq!(synthesis(), 403);
    assert_eq!(client.get("/v1/models").unwrap(), 200);
    let message = json!({"model": "coder", "messages": [{"role": "user", "content": "hi"}]});
    let chat = || status("/v1/chat/completions", &message);
    assert_ne!(chat(), 403);

    namespace.apply(&policy("team", &spec("nobody"))).unwrap();
    eventually("it may not chat any more", || chat() == 403);
    run_with_sdk("openai_denied.py", &forward.url(), client.token(), &[]);
    namespace.apply(&policy("team", &spec("demo"))).unwrap();
    eventually("it may again", || chat() != 403);

    // Another one forbids what this one permits.
    namespace
        .apply(&policy("stop", &json!({"statements": ["forbid (principal, action, resource);"]})))
        .unwrap();
    wait_for_policy(&namespace, "stop", "Ready", "True/Applied");
    assert_eq!(chat(), 403);
    // In shadow it decides nothing.
    let shadow = json!({"enforcement": "Shadow", "statements": ["forbid (principal, action, resource);"]});
    namespace.apply(&policy("stop", &shadow)).unwrap();
    eventually("it is in force no longer", || chat() != 403);
    eventually("the difference is counted", || {
        let counted = "codecrucible_access_shadow_differences_total{action=\"complete\",outcome=\"denied\"}";
        metrics(&namespace).iter().any(|metrics| metrics.contains(counted))
    });
    namespace.kubectl(&["delete", "accesspolicy", "stop"]).unwrap();
    eventually("it is gone from the policy", || access_in_force(&namespace) == ["team"]);

    // One that is wrong is in force as it was, and says where it is wrong; everything else of the service goes on.
    let mut wrong = spec("demo");
    wrong["roles"][0]["inherits"] = json!(["chatter"]);
    namespace.apply(&policy("team", &wrong)).unwrap();
    let message = wait_for_policy(&namespace, "team", "Stalled", "True/Invalid");
    assert!(message.starts_with("spec.roles[0].inherits: the roles reader → chatter → reader"), "{message}");
    eventually("the service tells of it", || {
        let (state, told) = namespace.condition("demo", "Accepted");
        state == "True/Valid" && told.contains("AccessPolicy \"team\" spec.roles[0].inherits: ")
    });
    assert_eq!((synthesis(), client.get("/v1/models").unwrap()), (403, 200));
    let stop = json!({"statements": ["forbid (principal, action, resource);"]});
    namespace.apply(&policy("stop", &stop)).unwrap();
    eventually("another one's change arrives", || chat() == 403);
    namespace.kubectl(&["delete", "accesspolicy", "stop"]).unwrap();

    // Without any, nobody is let in by mistake.
    namespace.kubectl(&["delete", "accesspolicy", "team"]).unwrap();
    namespace.wait_for("demo", "Accepted", "False/ReferenceNotFound");
    assert_eq!((synthesis(), client.get("/v1/models").unwrap()), (403, 200));
    select(&namespace, &json!({"policySelector": null}));
    eventually("nothing is ruled any more", || synthesis() != 403);
}

#[test]
fn what_is_wrong_in_an_access_policy_is_told_at_its_path() {
    let namespace = Namespace::new("access-wrong");
    for (name, change, expected) in [
        (
            "type",
            json!({"statements": ["permit (principal, action, resource) when { context.nobody };"]}),
            "spec.statements[0]: ",
        ),
        ("text", json!({"statements": ["permit"]}), "spec.statements[0]: "),
        (
            "deep",
            json!({"statements": ["(".repeat(4_000)]}),
            "spec.statements[0]: has brackets more than 32 deep",
        ),
        (
            "role",
            json!({"bindings": [{"role": "x", "subjects": [{"kind": "Everyone"}]}]}),
            "spec.bindings[0].role: ",
        ),
        (
            "address",
            {
                let mut spec = spec("demo");
                spec["bindings"][0]["conditions"] = json!({"addresses": ["10.0.0.0/33"]});
                spec
            },
            "spec.bindings[0].conditions.addresses[0]: ",
        ),
    ] {
        namespace.apply(&policy(name, &change)).unwrap();
        let message = wait_for_policy(&namespace, name, "Accepted", "False/Invalid");
        assert!(message.starts_with(expected), "{name}: {message}");
    }
}
