//! New pods that fail: the old ones come back by themselves, and nobody notices.

use crate::load::while_asking;
use crate::support::{Namespace, eventually};
use serde_json::{Value, json};

fn patch(namespace: &Namespace<'_>, patch: &Value) {
    namespace.kubectl(&["patch", "codecrucible", "demo", "--type=merge", "-p", &patch.to_string()]).unwrap();
}

/// How far it has come, as the status has it.
pub fn rollout(namespace: &Namespace<'_>) -> Value {
    namespace.get("codecrucible/demo").unwrap_or_default()["status"]["rollout"].clone()
}

fn image(namespace: &Namespace<'_>) -> Value {
    let deployment = namespace.get("deployment/demo").unwrap();
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].clone()
}

/// A service with two replicas that has run well.
fn proven(name: &'static str) -> (Namespace<'static>, Value) {
    let namespace = Namespace::new(name);
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    patch(&namespace, &json!({"spec": {"replicas": 2}}));
    eventually("it has run well", || {
        let rollout = rollout(&namespace);
        rollout["phase"] == "Complete" && rollout["lastGood"] == rollout["revision"]
    });
    let good = rollout(&namespace)["lastGood"].clone();
    (namespace, good)
}

fn pods(namespace: &Namespace<'_>) -> String {
    namespace.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].metadata.uid}"]).unwrap()
}

#[test]
fn an_image_that_does_not_exist_is_taken_back_unnoticed_and_a_mended_spec_rolls_forward() {
    let (namespace, good) = proven("rolledback");
    let before = pods(&namespace);
    let seen = while_asking(&namespace, "demo", || {
        let image = json!({"tag": "broken", "pullPolicy": "Never"});
        patch(&namespace, &json!({"spec": {"image": image, "rollout": {"progressDeadline": "10s"}}}));
        let told = namespace.wait_for("demo", "Progressing", "False/RolledBack");
        assert!(told.contains("ErrImageNeverPull"), "{told}");
        eventually("the pods are the old ones", || pods(&namespace) == before);
    });
    assert_eq!(seen.failures, Vec::<String>::new());
    assert_eq!(image(&namespace), "codecrucible.dev/workload:dev");
    assert_eq!(namespace.condition("demo", "Stalled").0, "True/RolledBack");
    assert_eq!(namespace.condition("demo", "Ready").0, "True/MinimumReplicasAvailable");
    assert_eq!(
        (&rollout(&namespace)["phase"], &rollout(&namespace)["lastGood"]),
        (&"RolledBack".into(), &good)
    );
    let events = namespace.kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"]).unwrap();
    assert!(events.contains("RolledBack"), "{events}");

    // A policy still reaches the pods that are back.
    patch(&namespace, &json!({"spec": {"observability": {"logLevel": "Debug"}}}));
    eventually("the old pods run the new policy", || {
        namespace.condition("demo", "PolicySynced").1.starts_with("2 of 2 ready replicas run 2-")
    });
    assert_eq!(namespace.condition("demo", "Progressing").0, "False/RolledBack");

    let mended = json!({"image": {"tag": "dev", "pullPolicy": "IfNotPresent"}, "resources": {"requests": {"cpu": "25m"}}});
    let seen = while_asking(&namespace, "demo", || {
        patch(&namespace, &json!({"spec": mended}));
        eventually("the mended pods have run well", || {
            let rollout = rollout(&namespace);
            rollout["phase"] == "Complete" && rollout["lastGood"] != good
        });
    });
    assert_eq!(seen.failures, Vec::<String>::new());
    namespace.wait_for("demo", "Stalled", "False/Stable");
}

#[test]
fn a_program_that_crashes_is_taken_back_long_before_the_deadline() {
    let (namespace, _) = proven("crashing");
    // It exists, but is not the workload: it ends with an error.
    patch(&namespace, &json!({"spec": {"image": {"repository": "codecrucible.dev/operator"}}}));
    let told = namespace.wait_for("demo", "Progressing", "False/RolledBack");
    assert!(told.contains("CrashLoopBackOff"), "{told}");
    assert_eq!(image(&namespace), "codecrucible.dev/workload:dev");
}

#[test]
fn without_automatic_rollback_a_failed_rollout_is_only_told() {
    let (namespace, _) = proven("notrolledback");
    let image = json!({"tag": "broken", "pullPolicy": "Never"});
    let rollout_spec = json!({"progressDeadline": "10s", "automaticRollback": false});
    patch(&namespace, &json!({"spec": {"image": image, "rollout": rollout_spec}}));
    namespace.wait_for("demo", "Stalled", "True/ProgressDeadlineExceeded");
    assert_eq!(rollout(&namespace)["phase"], "Failed");
    assert_eq!(namespace.condition("demo", "Available").0, "True/MinimumReplicasAvailable");
    // Asked for afterwards, it is done.
    patch(&namespace, &json!({"spec": {"rollout": {"automaticRollback": true}}}));
    namespace.wait_for("demo", "Progressing", "False/RolledBack");
    // Wanted no longer, what was taken back is tried once more.
    patch(&namespace, &json!({"spec": {"rollout": {"automaticRollback": false}}}));
    namespace.wait_for("demo", "Stalled", "True/ProgressDeadlineExceeded");
}
