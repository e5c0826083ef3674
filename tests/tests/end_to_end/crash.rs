//! The operator killed after each of its writes: the next one makes the same of it as if nothing had happened.

use crate::audit::{audit_length, writes_since};
use crate::state::{self, assert_same};
use crate::support::{Namespace, Second, eventually};
use codecrucible_tests::cluster::Cluster;
use codecrucible_tests::operator::{NAMESPACE, Operator, SERVICE_ACCOUNT};
use codecrucible_tests::proxy::{Asked, Fate, Proxy};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// When a certificate ends that is due: a second after 1970, in base64.
const DUE: &str = "MQ==";

/// What is done to a service before the operator comes.
struct Change {
    name: &'static str,
    make: fn(&Namespace<'_>),
    /// Whether the service exists and is at rest before.
    is_to_a_service: bool,
}

const CHANGES: [Change; 3] = [
    Change { name: "first apply", make: create, is_to_a_service: false },
    Change { name: "change of everything", make: change, is_to_a_service: true },
    Change { name: "renewal of certificates", make: make_certificates_due, is_to_a_service: true },
];

fn create(namespace: &Namespace<'_>) {
    namespace.crucible("demo", "remote", "").unwrap();
    patch(namespace, "codecrucible/demo", &json!({"spec": {"replicas": 0}}));
}

/// A policy, a pod template and what decides the replicas.
fn change(namespace: &Namespace<'_>) {
    let voice = json!({"name": "poet", "temperaturePercent": 90, "prompt": "Rhyme."});
    let resources = json!({"requests": {"cpu": "30m"}});
    let spec =
        json!({"resources": resources, "synthesis": {"voices": [voice]}, "maintenance": {"hibernate": true}});
    patch(namespace, "codecrucible/demo", &json!({"spec": spec}));
}

fn make_certificates_due(namespace: &Namespace<'_>) {
    for secret in ["secret/demo-authority", "secret/demo-certificate"] {
        patch(namespace, secret, &json!({"data": {"not-after": DUE}}));
    }
}

fn patch(namespace: &Namespace<'_>, object: &str, patch: &Value) {
    namespace.kubectl(&["patch", object, "--type=merge", "-p", &patch.to_string()]).unwrap();
}

#[test]
fn an_operator_that_is_killed_after_any_write_leaves_nothing_that_the_next_one_does_not_mend() {
    let second = Second::with_roles();
    let namespace = Namespace::on(&second.cluster, "crash");
    namespace.with_remote_backend();
    for change in &CHANGES {
        let (expected, writes) = undisturbed(&namespace, change);
        assert!(writes > 1, "{}: {writes} writes", change.name);
        let mut killed = 0;
        for count in 1..=writes {
            prepare(&namespace, change);
            // How often the status is written depends on how often it is looked at.
            killed += usize::from(is_killed_after(&namespace, count));
            let what = format!("{}, killed after write {count} of {writes}", change.name);
            assert_same(&what, &at_rest(&namespace), &expected);
        }
        println!("{}: killed after each of {killed} writes", change.name);
        assert!(killed > 1, "{}: killed after {killed} of {writes} writes", change.name);
    }
    deletion_is_no_work_of_the_operators(&namespace);
}

/// The state that a change leads to, and how many writes it takes.
fn undisturbed(namespace: &Namespace<'_>, change: &Change) -> (BTreeMap<String, Value>, usize) {
    prepare(namespace, change);
    let writes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&writes);
    let proxy = Proxy::start(
        namespace.cluster,
        Box::new(move |asked: &Asked| {
            counted.fetch_add(usize::from(asked.is_write()), Ordering::Relaxed);
            Fate::Pass
        }),
    );
    let proxy = proxy.unwrap();
    let operator = Operator::start_behind(namespace.cluster, "crash-test", &proxy).unwrap();
    wait_until_at_rest(namespace);
    // The last ones are Events.
    let state = state::of(namespace, "demo");
    operator.terminate().unwrap();
    (state, writes.load(Ordering::Relaxed))
}

/// A fresh service, changed while no operator runs.
fn prepare(namespace: &Namespace<'_>, change: &Change) {
    remove(namespace);
    if change.is_to_a_service {
        create(namespace);
        at_rest(namespace);
    }
    (change.make)(namespace);
}

fn remove(namespace: &Namespace<'_>) {
    namespace.kubectl(&["delete", "--ignore-not-found", "codecrucible", "demo"]).unwrap();
    eventually("nothing is left of the service", || state::children(namespace, "demo").is_empty());
}

/// Lets an operator work until it has made so many writes, of the last of which it does not hear any more. Tells whether
/// it makes so many.
fn is_killed_after(namespace: &Namespace<'_>, count: usize) -> bool {
    let writes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&writes);
    let script = move |asked: &Asked| {
        let number = counted.fetch_add(usize::from(asked.is_write()), Ordering::Relaxed) + 1;
        match (asked.is_write(), number.cmp(&count)) {
            (true, std::cmp::Ordering::Equal) => Fate::Swallowed,
            (true, std::cmp::Ordering::Greater) => Fate::Silence,
            _ => Fate::Pass,
        }
    };
    let proxy = Proxy::start(namespace.cluster, Box::new(script)).unwrap();
    let operator = Operator::start_behind(namespace.cluster, "crash-test", &proxy).unwrap();
    let is_made = || writes.load(Ordering::Relaxed) >= count;
    eventually("the write is made, or there is nothing more to write", || is_made() || is_at_rest(namespace));
    operator.kill().unwrap();
    is_made()
}

/// What another operator makes of it.
fn at_rest(namespace: &Namespace<'_>) -> BTreeMap<String, Value> {
    let operator = Operator::start(namespace.cluster, "crash-test").unwrap();
    wait_until_at_rest(namespace);
    let state = state::of(namespace, "demo");
    operator.kill().unwrap();
    state
}

fn wait_until_at_rest(namespace: &Namespace<'_>) {
    eventually("it is at rest", || is_at_rest(namespace));
}

fn is_at_rest(namespace: &Namespace<'_>) -> bool {
    let Some(resource) = namespace.get("codecrucible/demo") else { return false };
    let is_renewed =
        |secret: &str| namespace.get(secret).is_some_and(|secret| secret["data"]["not-after"] != DUE);
    resource["status"]["observedGeneration"] == resource["metadata"]["generation"]
        && namespace.condition("demo", "Reconciling").0 == "False/Stable"
        && is_renewed("secret/demo-authority")
        && is_renewed("secret/demo-certificate")
}

fn deletion_is_no_work_of_the_operators(namespace: &Namespace<'_>) {
    remove(namespace);
    create(namespace);
    let operator = Operator::start(namespace.cluster, "crash-test").unwrap();
    wait_until_at_rest(namespace);
    let offset = audit_length(namespace.cluster);
    remove(namespace);
    operator.terminate().unwrap();
    let writes = writes_since(namespace.cluster, offset, SERVICE_ACCOUNT, &namespace.name);
    assert_eq!(writes, Vec::<String>::new());
}

#[test]
fn a_second_operator_finds_nothing_to_do_and_the_first_gives_the_lease_back() {
    let second = Second::with_roles();
    let start = || Operator::start(&second.cluster, "crash-test").unwrap();
    a_second_reconcile_writes_nothing(&second.cluster, &start);
    the_lease_is_given_back(&second.cluster, &start);
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
