//! Two operators: never two writers.

use crate::audit::{audit_length, writes_since};
use crate::support::{LIMIT_SECONDS, Namespace, Second, eventually, operators_account};
use codecrucible_tests::operator::{Operator, SERVICE_ACCOUNT};
use codecrucible_tests::proxy::{Asked, Fate, Proxy};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The account of the second operator, by which the audit log tells the two apart.
const OTHER_ACCOUNT: &str = "codecrucible-operator-other";
/// Services; their first apply takes a while.
const SERVICES: usize = 40;
/// Writes after which the leader is held, in the middle of its work.
const WRITES_BEFORE: usize = 60;
/// Requests that a connection may have been writing when its process was held up, after it had looked at the clock: one of each reconcile that
/// runs (`--concurrency`, whose default is this). There is far more to do.
const MOST_ON_THEIR_WAY: usize = 16;

fn services(namespace: &Namespace<'_>) {
    let mut yaml = String::new();
    for index in 0..SERVICES {
        writeln!(
            yaml,
            "---\n{{apiVersion: codecrucible.dev/v1alpha1, kind: CodeCrucible, metadata: {{name: c{index}}},
  spec: {{image: {{repository: x, tag: x}}, replicas: 0, backends: [remote]}}}}"
        )
        .unwrap();
    }
    namespace.with_remote_backend().apply(&yaml).unwrap();
}

#[test]
fn a_leader_that_was_held_up_writes_nothing_more_and_ends() {
    let second = Second::with_roles();
    let cluster = &second.cluster;
    operators_account(cluster, OTHER_ACCOUNT);
    let namespace = Namespace::on(cluster, "leader");
    services(&namespace);
    let begin = audit_length(cluster);
    let writes = |offset, account| writes_since(cluster, offset, account, &namespace.name);

    let mut first = Operator::start(cluster, "first").unwrap();
    first.wait_until_leading().unwrap();
    let start = Instant::now();
    while writes(begin, SERVICE_ACCOUNT).len() < WRITES_BEFORE {
        assert!(start.elapsed() < Duration::from_secs(LIMIT_SECONDS), "the first one does not write");
    }
    first.hold().unwrap();
    let other = Operator::start_as(cluster, "other", OTHER_ACCOUNT).unwrap();
    other.wait_until_leading().unwrap();
    eventually("the other one has made everything", || {
        namespace.kubectl(&["get", "deployments", "-o", "name"]).unwrap().lines().count() == SERVICES
    });
    assert!(!writes(begin, OTHER_ACCOUNT).is_empty());
    assert_eq!(other.connections().unwrap(), 1, "all watches and requests share it");

    let held = audit_length(cluster);
    // Something to do for whoever takes itself for the leader.
    namespace.kubectl(&["delete", "services", "--all"]).unwrap();
    first.go_on().unwrap();
    assert!(!first.wait_until_ended().unwrap(), "it ends with an error");
    let late = writes(held, SERVICE_ACCOUNT);
    assert!(late.len() <= MOST_ON_THEIR_WAY, "{late:?}");
    eventually("the other one has made the services again", || {
        namespace.kubectl(&["get", "services", "-o", "name"]).unwrap().lines().count() == SERVICES
    });
}

#[test]
fn a_leader_whom_the_api_server_does_not_answer_ends_before_another_one_can_lead() {
    let second = Second::with_roles();
    let cluster = &second.cluster;
    operators_account(cluster, OTHER_ACCOUNT);
    let is_silent = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_silent);
    let script = move |_: &Asked| if seen.load(Ordering::Relaxed) { Fate::Silence } else { Fate::Pass };
    let proxy = Proxy::start(cluster, Box::new(script)).unwrap();
    let mut first = Operator::start_behind(cluster, "first", &proxy).unwrap();
    first.wait_until_leading().unwrap();
    let other = Operator::start_as(cluster, "other", OTHER_ACCOUNT).unwrap();

    is_silent.store(true, Ordering::Relaxed);
    assert!(!first.wait_until_ended().unwrap(), "it ends with an error");
    assert!(other.metric("codecrucible_operator_leader ") < 1.0, "the lease is not over yet");
    other.wait_until_leading().unwrap();
}
