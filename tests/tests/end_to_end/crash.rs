//! The operator killed at any moment: it converges, and then rests.

use crate::audit::{audit_length, writes_since};
use crate::support::{LIMIT_SECONDS, Namespace, Second, eventually};
use codecrucible_tests::cluster::Cluster;
use codecrucible_tests::operator::{NAMESPACE, Operator, SERVICE_ACCOUNT};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Times that the operator is killed.
const KILLS: usize = 10;
/// Objects that make up a service.
const CHILDREN: usize = 11;
/// Looks without a pause: the whole first apply takes less than a tenth of a second.
fn wait_for_writes(namespace: &Namespace<'_>, offset: u64, count: usize) {
    let start = Instant::now();
    while writes_since(namespace.cluster, offset, SERVICE_ACCOUNT, &namespace.name).len() < count {
        assert!(start.elapsed() < Duration::from_secs(LIMIT_SECONDS), "the operator does not write");
    }
}

#[test]
fn ten_kills_during_the_first_apply_and_then_silence() {
    let second = Second::with_roles();
    let cluster = &second.cluster;
    let start = || Operator::start(cluster, "crash-test").unwrap();

    let kills_in_the_middle =
        (0..KILLS).filter(|&kill| converges_after_a_kill(cluster, &start, kill)).count();
    assert!(kills_in_the_middle > 0, "no kill fell between two writes");
    a_second_reconcile_writes_nothing(cluster, &start);
    the_lease_is_given_back(cluster, &start);
}

/// Kills an operator during its first apply and lets another one go on. Tells whether the kill fell between two
/// writes.
fn converges_after_a_kill<'a>(cluster: &'a Cluster, start: &impl Fn() -> Operator<'a>, kill: usize) -> bool {
    // Each in a namespace of its own: the pods of the one before take their time to end.
    let namespace = Namespace::on(cluster, &format!("kill-{kill}"));
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    let offset = audit_length(cluster);
    let operator = start();
    // Each kill falls after another write of the first apply.
    wait_for_writes(&namespace, offset, kill);
    operator.kill().unwrap();
    let key = || namespace.get("secret/demo-signing-keys").map(|secret| secret["data"].clone());
    let (key_before, made) = (key(), children(&namespace));
    println!("kill {kill}: {made} of {CHILDREN} children so far");

    let operator = start();
    namespace.wait_until_ready("demo");
    eventually("it rests", || namespace.condition("demo", "Reconciling").0 == "False/Stable");
    assert_eq!(children(&namespace), CHILDREN);
    assert!(key_before.is_none() || key_before == key(), "the key was made twice");
    operator.kill().unwrap();
    made > 0 && made < CHILDREN
}

fn a_second_reconcile_writes_nothing<'a>(cluster: &'a Cluster, start: &impl Fn() -> Operator<'a>) {
    let namespace = Namespace::on(cluster, "kill");
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    let with_secret = "{apiVersion: codecrucible.dev/v1alpha1, kind: ModelBackend, metadata: {name: keyed},
        spec: {type: OpenAI, url: 'http://127.0.0.1:9/v1', models: [{name: keyed}], credentialsSecretRef: {name: key, key: token}}}";
    namespace.apply(with_secret).unwrap();
    namespace.kubectl(&["create", "secret", "generic", "key", "--from-literal=token=t0ps3cret"]).unwrap();
    namespace.crucible("second", "keyed", "").unwrap();
    let operator = start();
    for name in ["demo", "second"] {
        namespace.wait_until_ready(name);
        eventually("it rests", || namespace.condition(name, "Reconciling").0 == "False/Stable");
    }
    eventually("the pods were touched", || {
        let pods = namespace.get("pods").unwrap()["items"].clone();
        let touched =
            |pod: &Value| pod["metadata"]["annotations"]["codecrucible.dev/configuration"].is_string();
        pods.as_array().unwrap().iter().all(touched)
    });
    operator.kill().unwrap();
    let offset = audit_length(cluster);
    let operator = start();
    operator.wait_for_reconciles(2.0).unwrap();
    operator.kill().unwrap();
    assert_eq!(writes_since(cluster, offset, SERVICE_ACCOUNT, &namespace.name), Vec::<String>::new());
}

/// One that is told to end leaves the lease free, so that the next one need not wait for it to expire.
fn the_lease_is_given_back<'a>(cluster: &'a Cluster, start: &impl Fn() -> Operator<'a>) {
    let operator = start();
    operator.wait_until_leading().unwrap();
    assert!(operator.terminate().unwrap());
    let holder = "jsonpath={.spec.holderIdentity}";
    let lease = ["-n", NAMESPACE, "get", "lease", "codecrucible-operator", "-o", holder];
    let holder = cluster.kubectl().unwrap().args(lease).output().unwrap();
    assert!(holder.status.success() && holder.stdout.is_empty(), "{holder:?}");
}

fn children(namespace: &Namespace<'_>) -> usize {
    let kinds =
        "deployments,services,configmaps,secrets,serviceaccounts,networkpolicies,poddisruptionbudgets";
    let label = "app.kubernetes.io/instance=demo";
    namespace.kubectl(&["get", kinds, "-l", label, "-o", "name"]).unwrap_or_default().lines().count()
}
