//! What the status says of the policy is what the replicas said themselves.

use crate::load::while_asking;
use crate::support::{Namespace, eventually};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

fn policy(namespace: &Namespace<'_>) -> Value {
    namespace.get("codecrucible/demo").unwrap_or_default()["status"]["policy"].clone()
}

fn patch(namespace: &Namespace<'_>, object: &str, patch: &Value) {
    namespace.kubectl(&["patch", object, "--type=merge", "-p", &patch.to_string()]).unwrap();
}

#[test]
fn a_change_is_in_the_status_when_all_of_three_replicas_said_that_they_run_it() {
    let namespace = Namespace::new("acknowledged");
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    patch(&namespace, "codecrucible/demo", &json!({"spec": {"replicas": 3}}));
    let runs = |revision: &str| {
        let policy = policy(&namespace);
        policy["revision"].as_str().is_some_and(|shown| shown.starts_with(revision))
            && policy["appliedReplicas"] == 3
    };
    eventually("three replicas run the first policy", || runs("1-"));
    namespace.wait_for("demo", "Reconciling", "False/Stable");
    let pods = || namespace.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].metadata.uid}"]).unwrap();
    let pods_before = pods();

    patch(&namespace, "codecrucible/demo", &json!({"spec": {"observability": {"logLevel": "Debug"}}}));
    eventually("three replicas run the second policy", || runs("2-"));
    let told = namespace.wait_for("demo", "PolicySynced", "True/Applied");
    assert!(told.starts_with("3 of 3 ready replicas run 2-"), "{told}");
    let logs = namespace.kubectl(&["logs", "-l", "app.kubernetes.io/instance=demo", "--tail=-1"]).unwrap();
    let revision = policy(&namespace)["revision"].to_string();
    let applied =
        logs.lines().filter(|line| line.contains("configuration applied") && line.contains(&revision));
    assert_eq!(applied.count(), 3, "{logs}");
    assert_eq!(pods(), pods_before);
    let events = namespace.kubectl(&["get", "events", "-o", "jsonpath={.items[*].message}"]).unwrap();
    assert!(events.contains("PolicySynced=True: 3 of 3 ready replicas run 2-"), "{events}");
}

#[test]
fn a_replica_that_refuses_is_named_with_its_reason_and_serves_on() {
    let namespace = Namespace::new("refused");
    namespace.with_local_model().crucible("demo", "local", "").unwrap();
    namespace.wait_until_ready("demo");
    namespace.wait_for("demo", "PolicySynced", "True/Applied");
    let pinned = |sha256: &str| json!({"spec": {"embedded": {"sha256": sha256}}});
    let good = namespace.get("modelbackend/local").unwrap()["spec"]["embedded"]["sha256"].clone();
    patch(&namespace, "modelbackend/local", &pinned(&"0".repeat(64)));
    let told = namespace.wait_for("demo", "Stalled", "True/Rejected");
    assert!(told.contains("is pinned"), "{told}");
    let refused = policy(&namespace);
    assert_eq!(refused["appliedReplicas"], 0);
    let (pod, reason) = (&refused["rejected"][0]["pod"], &refused["rejected"][0]["reason"]);
    assert!(pod.as_str().unwrap().starts_with("demo-") && reason.as_str().unwrap().contains("is pinned"));
    assert_eq!(namespace.condition("demo", "Ready").0, "True/MinimumReplicasAvailable");

    patch(&namespace, "modelbackend/local", &pinned(good.as_str().unwrap()));
    namespace.wait_for("demo", "PolicySynced", "True/Applied");
    namespace.wait_for("demo", "Stalled", "False/Stable");
    assert_eq!(policy(&namespace)["rejected"], Value::Null);
}

#[test]
fn a_certificate_that_is_due_is_renewed_and_no_request_fails_meanwhile() {
    let namespace = Namespace::new("renewed");
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    namespace.wait_for("demo", "PolicySynced", "True/Applied");
    namespace.wait_for("demo", "Reconciling", "False/Stable");
    let data = |secret: &str, key: &str| {
        namespace.get(&format!("secret/{secret}")).unwrap_or_default()["data"][key].to_string()
    };
    let certificate = data("demo-certificate", "tls.crt");
    let due = json!({"data": {"not-after": STANDARD.encode("1")}});
    let seen = while_asking(&namespace, "demo", || {
        for secret in ["secret/demo-certificate", "secret/demo-authority"] {
            patch(&namespace, secret, &due);
        }
        eventually("the certificate is another one", || data("demo-certificate", "tls.crt") != certificate);
        eventually("the operator's is good again", || data("demo-authority", "not-after").len() > 10);
        // A new policy can only be acknowledged with the new certificates.
        patch(&namespace, "codecrucible/demo", &json!({"spec": {"observability": {"logLevel": "Debug"}}}));
        eventually("the replica runs the second policy", || runs(&namespace, 2));
    });
    assert_eq!(seen.failures, [""; 0], "of {} requests", seen.requests);
}

/// Whether one replica runs a policy with this counter.
fn runs(namespace: &Namespace<'_>, counter: u64) -> bool {
    let policy = policy(namespace);
    let shown = policy["revision"].as_str().unwrap_or_default().to_owned();
    shown.starts_with(&format!("{counter}-")) && policy["appliedReplicas"] == 1
}

fn annotate(namespace: &Namespace<'_>, annotation: &str) {
    namespace.kubectl(&["annotate", "--overwrite", "codecrucible/demo", annotation]).unwrap();
}

#[test]
fn a_person_returns_to_an_earlier_policy_and_from_there_to_the_newest() {
    let namespace = Namespace::new("policyback");
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    eventually("the first policy runs", || runs(&namespace, 1));
    let first = policy(&namespace)["revision"].as_str().unwrap().to_owned();
    // More than are kept.
    for counter in 2..=12 {
        let lifetime = format!("{counter}m");
        patch(&namespace, "codecrucible/demo", &json!({"spec": {"auth": {"accessTokenLifetime": lifetime}}}));
        eventually("the next policy runs", || runs(&namespace, counter));
    }
    let newest = policy(&namespace)["revision"].clone();
    let kept = [
        "get",
        "controllerrevisions",
        "-l",
        "codecrucible.dev/series=policy",
        "-o",
        "jsonpath={.items[*].metadata.name}",
    ];
    let kept = || namespace.kubectl(&kept).unwrap();
    eventually("ten are kept", || kept().split(' ').count() == 10);

    annotate(&namespace, &format!("codecrucible.dev/rollback-policy={first}"));
    let told = namespace.wait_for("demo", "Accepted", "False/Invalid");
    assert!(told.starts_with("metadata.annotations[codecrucible.dev/rollback-policy]: no policy"), "{told}");
    assert!(told.contains(newest.as_str().unwrap()), "those that are kept are named: {told}");
    assert_eq!(policy(&namespace)["revision"], newest, "what serves goes on serving");

    let fifth = kept()
        .split(' ')
        .find_map(|name| {
            name.strip_prefix("demo-policy-").filter(|key| key.starts_with("5-")).map(str::to_owned)
        })
        .unwrap();
    annotate(&namespace, &format!("codecrucible.dev/rollback-policy={fifth}"));
    eventually("the fifth policy runs again", || runs(&namespace, 5));
    assert_eq!(policy(&namespace)["pinned"], true);
    let told = namespace.wait_for("demo", "PolicySynced", "True/Applied");
    assert!(told.ends_with("the annotation codecrucible.dev/rollback-policy holds the service"), "{told}");
    // What the resource says is held back.
    patch(&namespace, "codecrucible/demo", &json!({"spec": {"observability": {"logLevel": "Debug"}}}));
    eventually("the change was seen", || {
        let resource = namespace.get("codecrucible/demo").unwrap();
        resource["status"]["observedGeneration"] == resource["metadata"]["generation"]
    });
    assert!(runs(&namespace, 5));

    annotate(&namespace, "codecrucible.dev/rollback-policy-");
    eventually("the newest policy runs", || runs(&namespace, 13));
    assert_eq!(policy(&namespace)["pinned"], Value::Null);
}
