//! What others do to a service's objects.

use crate::support::{Namespace, eventually};

#[test]
fn children_that_are_deleted_or_edited_come_back() {
    let namespace = Namespace::new("drift");
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    namespace.wait_until_ready("demo");
    let secret = || namespace.get("secret/demo-signing-keys").map(|secret| secret["data"].clone());
    let key = secret();

    for child in ["service/demo", "networkpolicy/demo", "poddisruptionbudget/demo", "configmap/demo-policy"] {
        namespace.kubectl(&["delete", child]).unwrap();
        eventually(&format!("{child} is back"), || namespace.get(child).is_some());
    }

    let broken = "{\"data\":{\"bundle.json\":\"{}\"}}";
    namespace.kubectl(&["patch", "configmap", "demo-policy", "--type=merge", "-p", broken]).unwrap();
    eventually("the bundle is put back", || {
        namespace.get("configmap/demo-policy").is_some_and(|map| map["data"]["bundle.json"] != "{}")
    });
    namespace.kubectl(&["scale", "deployment", "demo", "--replicas=3"]).unwrap();
    eventually("the replicas are put back", || {
        namespace.get("deployment/demo").is_some_and(|deployment| deployment["spec"]["replicas"] == 1)
    });
    assert_eq!(secret(), key, "the signing key is never made anew");
}

#[test]
fn an_object_of_somebody_else_is_left_alone_and_named() {
    let namespace = Namespace::new("foreign");
    let service = "{apiVersion: v1, kind: Service, metadata: {name: demo}, spec: {ports: [{port: 1234}]}}";
    namespace.apply(service).unwrap();
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    let message = namespace.wait_for("demo", "Ready", "False/NotOwned");
    assert!(message.ends_with("Service demo"), "{message}");
    assert_eq!(namespace.condition("demo", "Stalled").0, "True/NotOwned");
    let service = namespace.get("service/demo").unwrap();
    assert_eq!(service["spec"]["ports"][0]["port"], 1234);
    assert!(service["metadata"]["ownerReferences"].is_null());

    // The rest is there already; once the name is free, the service is complete.
    namespace.kubectl(&["delete", "service", "demo"]).unwrap();
    namespace.kubectl(&["annotate", "codecrucible", "demo", "look=again"]).unwrap();
    namespace.wait_until_ready("demo");
}

#[test]
fn two_resources_of_one_name_in_two_namespaces_do_not_touch() {
    let (one, other) = (Namespace::new("twin-a"), Namespace::new("twin-b"));
    for namespace in [&one, &other] {
        namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    }
    one.wait_until_ready("demo");
    other.wait_until_ready("demo");
    let key = |namespace: &Namespace<'_>| namespace.get("secret/demo-signing-keys").unwrap()["data"].clone();
    assert_ne!(key(&one), key(&other));
    one.kubectl(&["delete", "codecrucible", "demo"]).unwrap();
    eventually("one is gone", || one.get("deployment/demo").is_none());
    assert_eq!(other.condition("demo", "Ready").0, "True/MinimumReplicasAvailable");
}
