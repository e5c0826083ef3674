//! Who may do what: access policies that a service selects, in every replica, with an SDK that nobody changed.

use crate::sdk::run_with_sdk;
use crate::served::{Service, metrics, select};
use crate::support::{Namespace, eventually};
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

impl Service {
    /// Goes by the policy `team`, which lets the client chat and see the models.
    fn go_by_team(&self) {
        self.namespace.apply(&policy("team", &spec("demo"))).unwrap();
        select(&self.namespace, &json!({"policySelector": {"matchLabels": {"for": "demo"}}}));
        eventually("it is in force", || access_in_force(&self.namespace) == ["team"]);
        wait_for_policy(&self.namespace, "team", "Ready", "True/Applied");
    }

    fn apply(&self, name: &str, spec: &Value) {
        self.namespace.apply(&policy(name, spec)).unwrap();
    }

    fn delete(&self, name: &str) {
        self.namespace.kubectl(&["delete", "accesspolicy", name]).unwrap();
    }
}

/// Forbids everything.
fn stop() -> Value {
    json!({"statements": ["forbid (principal, action, resource);"]})
}

#[test]
fn a_service_goes_by_the_policies_that_it_selects_and_says_when_every_replica_does() {
    let service = Service::start("access", 2);
    service.apply("team", &spec("demo"));
    let message = wait_for_policy(&service.namespace, "team", "Ready", "True/NotSelected");
    assert!(message.starts_with("no CodeCrucible"), "{message}");
    assert_ne!(service.synthesis(), 403, "nothing is ruled yet");

    service.go_by_team();
    let message = wait_for_policy(&service.namespace, "team", "Ready", "True/Applied");
    assert_eq!(message, "1 of 1 services run it in all of their ready replicas");
    assert_eq!((service.synthesis(), service.models()), (403, 200));
    assert_ne!(service.chat(), 403);

    service.apply("team", &spec("nobody"));
    eventually("it may not chat any more", || service.chat() == 403);
    run_with_sdk("openai_denied.py", &service.forward.url(), service.client.token(), &[]);
    service.apply("team", &spec("demo"));
    eventually("it may again", || service.chat() != 403);
}

#[test]
fn what_one_policy_forbids_no_other_permits_and_one_in_shadow_decides_nothing() {
    let service = Service::start("access-two", 1);
    service.go_by_team();
    service.apply("stop", &stop());
    eventually("it is forbidden", || service.chat() == 403);
    wait_for_policy(&service.namespace, "stop", "Ready", "True/Applied");

    let mut shadow = stop();
    shadow["enforcement"] = json!("Shadow");
    service.apply("stop", &shadow);
    eventually("it is in force no longer", || service.chat() != 403);
    eventually("the difference is counted", || {
        let counted = "codecrucible_access_shadow_differences_total{action=\"complete\",outcome=\"denied\"}";
        metrics(&service.namespace).iter().any(|metrics| metrics.contains(counted))
    });
    service.delete("stop");
    eventually("it is gone from the policy", || access_in_force(&service.namespace) == ["team"]);
}

#[test]
fn a_policy_that_is_wrong_stays_in_force_as_it_was_and_one_that_is_gone_lets_nobody_in() {
    let service = Service::start("access-kept", 1);
    service.go_by_team();
    let mut wrong = spec("demo");
    wrong["roles"][0]["inherits"] = json!(["chatter"]);
    service.apply("team", &wrong);
    let message = wait_for_policy(&service.namespace, "team", "Stalled", "True/Invalid");
    assert!(message.starts_with("spec.roles[0].inherits: the roles reader → chatter → reader"), "{message}");
    eventually("the service tells of it", || {
        let (state, told) = service.namespace.condition("demo", "Accepted");
        state == "True/Valid" && told.contains("AccessPolicy \"team\" spec.roles[0].inherits: ")
    });
    assert_eq!((service.synthesis(), service.models()), (403, 200));
    service.apply("stop", &stop());
    eventually("another one's change arrives", || service.chat() == 403);
    service.delete("stop");
    eventually("and goes", || service.chat() != 403);

    service.delete("team");
    service.namespace.wait_for("demo", "Accepted", "False/ReferenceNotFound");
    assert_eq!((service.synthesis(), service.models()), (403, 200));
    select(&service.namespace, &json!({"policySelector": null}));
    eventually("nothing is ruled any more", || service.synthesis() != 403);
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
