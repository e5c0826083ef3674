//! What an operator would write can be seen before it is let write.

use crate::support::{Namespace, Second};
use codecrucible_tests::operator::Operator;

#[test]
fn what_an_operator_would_write_is_told_and_not_written() {
    let second = Second::with_roles();
    let namespace = Namespace::on(&second.cluster, "dry-run");
    let dry_run = || Operator::dry_run(&second.cluster).unwrap();
    let patch =
        |spec: &str| namespace.kubectl(&["patch", "codecrucible", "demo", "--type=merge", "-p", spec]);
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    patch(r#"{"spec":{"replicas":0}}"#).unwrap();

    let told = dry_run();
    assert!(told.contains("dry-run/demo\n  create ServiceAccount demo\n"), "{told}");
    assert!(told.contains("  create Deployment demo\n"), "{told}");
    // Those of tests before may still be there.
    assert!(told.contains(" services: 1 would be written to, 0 of them get new pods"), "{told}");
    let made = namespace.kubectl(&["get", "all,configmaps,secrets", "-o", "name"]).unwrap();
    assert!(!made.contains("demo"), "{made}");

    let operator = Operator::start(&second.cluster, "dry-run").unwrap();
    namespace.wait_for("demo", "Reconciling", "False/Stable");
    operator.kill().unwrap();
    let told = dry_run();
    assert!(told.contains("dry-run/demo\n  nothing would be written\n"), "{told}");

    patch(r#"{"spec":{"image":{"tag":"other"}}}"#).unwrap();
    let told = dry_run();
    assert!(
        told.contains("  change Deployment demo\n  pods would be replaced, one after the other\n"),
        "{told}"
    );
    patch(r#"{"spec":{"backends":["ghost"]}}"#).unwrap();
    assert!(
        dry_run().contains("  would be refused: spec.backends[0]: there is no ModelBackend"),
        "{}",
        dry_run()
    );
}
