//! What others do to a service's objects.

use crate::support::{Namespace, eventually};

#[test]
fn children_that_are_deleted_or_edited_come_back() {
    let namespace = Namespace::new("drift");
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    namespace.wait_until_ready("demo");
    let secret = || namespace.get("secret/demo-signing-keys").map(|secret| secret["data"].clone());
    let key = secret();

    for child in [
        "service/demo",
        "networkpolicy/demo",
        "poddisruptionbudget/demo",
        "configmap/demo-policy",
        "serviceaccount/demo",
        "secret/demo-backend-credentials",
        "secret/demo-client",
        "deployment/demo",
    ] {
        let uid = || namespace.get(child).map(|object| object["metadata"]["uid"].clone());
        let before = uid();
        namespace.kubectl(&["delete", child]).unwrap();
        eventually(&format!("{child} is back"), || uid().is_some_and(|uid| Some(uid) != before));
    }

    let broken = "{\"data\":{\"bundle.json\":\"{}\"}}";
    namespace.kubectl(&["patch", "configmap", "demo-policy", "--type=merge", "-p", broken]).unwrap();
    eventually("the bundle is put back", || {
        namespace.get("configmap/demo-policy").is_some_and(|map| map["data"]["bundle.json"] != "{}")
    });
    let beside = "{\"binaryData\":{\"bundle.json.gz\":\"eA==\"}}";
    namespace.kubectl(&["patch", "configmap", "demo-policy", "--type=merge", "-p", beside]).unwrap();
    eventually("no policy lies beside ours", || {
        namespace.get("configmap/demo-policy").is_some_and(|map| map["binaryData"].is_null())
    });
    namespace.kubectl(&["scale", "deployment", "demo", "--replicas=3"]).unwrap();
    eventually("the replicas are put back", || {
        namespace.get("deployment/demo").is_some_and(|deployment| deployment["spec"]["replicas"] == 1)
    });
    let opened = "{\"spec\":{\"egress\":[{}]}}";
    namespace.kubectl(&["patch", "networkpolicy", "demo", "--type=merge", "-p", opened]).unwrap();
    eventually("the network is closed again", || {
        namespace
            .get("networkpolicy/demo")
            .is_some_and(|policy| policy["spec"]["egress"][0]["ports"].is_array())
    });
    assert_eq!(secret(), key, "the signing key is never made anew");

    // Unless it is lost: then the old tokens are void, and the service goes on with a new one.
    namespace.kubectl(&["delete", "secret/demo-signing-keys"]).unwrap();
    eventually("there is a new key", || secret().is_some_and(|new| Some(new) != key));
    namespace.wait_until_ready("demo");
}

#[test]
fn an_object_of_somebody_else_is_left_alone_and_named() {
    let namespace = Namespace::new("foreign");
    let service = "{apiVersion: v1, kind: Service, metadata: {name: demo}, spec: {ports: [{port: 1234}]}}";
    namespace.apply(service).unwrap();
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    let message = namespace.wait_for("demo", "Ready", "False/NotOwned");
    assert!(message.contains("Service \"demo\"; delete or rename"), "{message}");
    assert_eq!(namespace.condition("demo", "Stalled").0, "True/NotOwned");
    assert!(namespace.get("deployment/demo").is_none(), "a service is whole or not at all");
    let service = namespace.get("service/demo").unwrap();
    assert_eq!(service["spec"]["ports"][0]["port"], 1234);
    assert!(service["metadata"]["ownerReferences"].is_null());

    // Once the name is free, nobody has to touch the resource.
    namespace.kubectl(&["delete", "service", "demo"]).unwrap();
    namespace.wait_until_ready("demo");
}

#[test]
fn a_foreign_key_in_the_place_of_ours_never_reaches_the_pods() {
    let namespace = Namespace::new("foreign-key");
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    namespace.wait_until_ready("demo");
    let touched = "jsonpath={.items[*].metadata.annotations.codecrucible\\.dev/configuration}";
    let pods = || namespace.kubectl(&["get", "pods", "-o", touched]).unwrap();
    eventually("the pod was touched", || !pods().is_empty());
    let before = pods();

    // Somebody takes the name the moment it is free: the operator must not win, take over, or pass it on.
    let foreign =
        "{apiVersion: v1, kind: Secret, metadata: {name: demo-signing-keys}, stringData: {000001.pem: mine}}";
    let orphan = "{\"metadata\":{\"ownerReferences\":null}}";
    namespace.kubectl(&["patch", "secret", "demo-signing-keys", "--type=merge", "-p", orphan]).unwrap();
    namespace.apply(foreign).unwrap();
    namespace.wait_for("demo", "Accepted", "False/NotOwned");
    let secret = namespace.get("secret/demo-signing-keys").unwrap();
    assert_eq!(secret["data"]["000001.pem"], "bWluZQ==");
    assert!(secret["metadata"]["ownerReferences"].is_null());
    assert_eq!(pods(), before, "no pod is told to read the foreign key");
    assert_eq!(namespace.condition("demo", "Available").0, "True/MinimumReplicasAvailable");
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

#[test]
fn whoever_changes_an_object_whenever_it_is_written_is_given_way_for_a_while() {
    let namespace = Namespace::new("contested");
    let ingress = "  network: {ingress: {hosts: [demo.example], annotations: {example.com/mode: ours}}}";
    namespace.with_remote_backend().crucible("demo", "remote", ingress).unwrap();
    let mode = || {
        namespace
            .get("ingress/demo")
            .map(|ingress| ingress["metadata"]["annotations"]["example.com/mode"].clone())
    };
    eventually("there is an Ingress", || mode().is_some_and(|mode| mode == "ours"));
    let is_told = || {
        let events = namespace.kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"]).unwrap();
        events.contains("Contested")
    };
    let mut corrections = 0;
    while !is_told() {
        namespace
            .kubectl(&["annotate", "--overwrite", "ingress", "demo", "example.com/mode=theirs"])
            .unwrap();
        eventually("it is corrected, or left alone", || {
            mode().is_some_and(|mode| mode == "ours") || is_told()
        });
        corrections += 1;
        assert!(corrections < 20, "it is corrected without end");
    }
    assert_eq!(mode().unwrap(), "theirs");
    eventually("the status says so", || {
        namespace
            .condition("demo", "Accepted")
            .1
            .ends_with("is changed by somebody else whenever it is written")
    });
    eventually("it is corrected after all", || mode().unwrap() == "ours");
}
