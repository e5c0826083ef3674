//! Wrong resources: each gets a clear answer, and nothing that runs is lost.

use crate::support::{Namespace, eventually};
use serde_json::json;

#[test]
fn the_api_server_refuses_what_the_schema_forbids() {
    let namespace = Namespace::new("schema");
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    let refusal = |patch: serde_json::Value| {
        let patch = json!({"spec": patch}).to_string();
        namespace.kubectl(&["patch", "codecrucible", "demo", "--type=merge", "-p", &patch]).unwrap_err()
    };
    for (patch, field) in [
        (json!({"replicas": -1}), "spec.replicas"),
        (json!({"image": {"repository": "Not An Image"}}), "spec.image.repository"),
        (json!({"image": {"digest": "sha256:0"}}), "spec.image"),
        (json!({"backends": []}), "spec.backends"),
        (json!({"backends": ["a", "a"]}), "a backend may be named only once"),
        (json!({"backends": ["a b"]}), "spec.backends[0]"),
        (json!({"image": {"tag": "not a tag"}}), "spec.image.tag"),
        (
            json!({"synthesis": {"defaultVoices": ["developer", "developer"]}}),
            "a voice may be named only once",
        ),
        (json!({"auth": {"accessTokenLifetime": "soon"}}), "spec.auth.accessTokenLifetime"),
    ] {
        let refused = refusal(patch);
        assert!(refused.contains(field), "{field}: {refused}");
    }
    let too_long = "x".repeat(41);
    assert!(namespace.crucible(&too_long, "remote", "").unwrap_err().contains("at most 40 characters"));
}

#[test]
fn a_change_to_an_unknown_backend_is_refused_while_the_service_goes_on() {
    let namespace = Namespace::new("ghost");
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    namespace.wait_until_ready("demo");
    let bundle = namespace.get("configmap/demo-policy").unwrap()["data"].clone();

    namespace.crucible("demo", "ghost", "").unwrap();
    let message = namespace.wait_for("demo", "Accepted", "False/ReferenceNotFound");
    assert_eq!(message, "spec.backends[0]: there is no ModelBackend \"ghost\" in this namespace");
    assert_eq!(namespace.condition("demo", "Stalled").0, "True/ReferenceNotFound");
    assert!(namespace.condition("demo", "Ready").0.starts_with("False"));
    assert_eq!(namespace.condition("demo", "Available").0, "True/MinimumReplicasAvailable");
    assert_eq!(namespace.get("configmap/demo-policy").unwrap()["data"], bundle);

    // The backend arrives: nobody has to touch the resource.
    namespace
        .apply(
            "{apiVersion: codecrucible.dev/v1alpha1, kind: ModelBackend, metadata: {name: ghost},
              spec: {type: OpenAI, url: 'http://127.0.0.1:9/v1', models: [{name: coder}]}}",
        )
        .unwrap();
    namespace.wait_for("demo", "Ready", "True/MinimumReplicasAvailable");
}

#[test]
fn an_object_that_the_api_server_does_not_take_stalls_the_service_which_goes_on() {
    let namespace = Namespace::new("refused");
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    namespace.wait_until_ready("demo");
    let tolerations_are = |tolerations: &str| {
        let patch = format!(r#"{{"spec": {{"placement": {{"tolerations": {tolerations}}}}}}}"#);
        namespace.kubectl(&["patch", "codecrucible/demo", "--type=merge", "-p", &patch]).unwrap();
    };
    tolerations_are(r#"[{"key": "a", "operator": "Nonsense"}]"#);
    let message = namespace.wait_for("demo", "Stalled", "True/ApplyFailed");
    assert!(message.starts_with("Deployment demo: "), "{message}");
    assert!(message.contains("tolerations[0]"), "{message}");
    assert_eq!(namespace.condition("demo", "Reconciling").0, "False/Stable");
    assert_eq!(namespace.condition("demo", "Available").0, "True/MinimumReplicasAvailable");

    tolerations_are("[]");
    namespace.wait_for("demo", "Stalled", "False/Stable");
    namespace.wait_for("demo", "Ready", "True/MinimumReplicasAvailable");
}

#[test]
fn a_way_from_outside_that_the_api_server_does_not_take_leaves_the_service_ready() {
    let namespace = Namespace::new("barred");
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    let ingress_is = |ingress: &str| {
        let patch = format!(r#"{{"spec": {{"network": {{"ingress": {ingress}}}}}}}"#);
        namespace.kubectl(&["patch", "codecrucible/demo", "--type=merge", "-p", &patch]).unwrap();
    };
    ingress_is(r#"{"hosts": ["a..b"]}"#);
    let message = namespace.wait_for("demo", "Exposed", "False/ApplyFailed");
    assert!(message.starts_with("Ingress demo: ") && message.contains("spec.rules[0].host"), "{message}");
    namespace.wait_until_ready("demo");
    assert_eq!(namespace.condition("demo", "Stalled").0, "False/Stable");

    ingress_is(r#"{"hosts": ["a.b"]}"#);
    namespace.wait_for("demo", "Exposed", "False/AwaitingController");
    ingress_is("null");
    eventually("it is gone", || namespace.get("ingress/demo").is_none());
}

#[test]
fn a_backend_waits_for_its_secret() {
    let namespace = Namespace::new("secretless");
    namespace
        .apply(
            "{apiVersion: codecrucible.dev/v1alpha1, kind: ModelBackend, metadata: {name: remote},
              spec: {type: OpenAI, url: 'http://127.0.0.1:9/v1', models: [{name: coder}],
                credentialsSecretRef: {name: key, key: token}}}",
        )
        .unwrap();
    namespace.crucible("demo", "remote", "").unwrap();
    let message = namespace.wait_for("demo", "Accepted", "False/ReferenceNotFound");
    assert!(
        message.ends_with("credentialsSecretRef.name: there is no Secret \"key\" in this namespace"),
        "{message}"
    );

    namespace.kubectl(&["create", "secret", "generic", "key", "--from-literal=other=x"]).unwrap();
    let key = "credentialsSecretRef.key: the Secret \"key\" has no key \"token\"";
    crate::support::eventually("the missing key is named", || {
        namespace.condition("demo", "Accepted").1.ends_with(key)
    });

    namespace
        .kubectl(&["patch", "secret", "key", "-p", "{\"stringData\":{\"token\":\"t0ps3cret\"}}"])
        .unwrap();
    namespace.wait_until_ready("demo");
    let published = namespace.get("configmap/demo-policy").unwrap().to_string();
    assert!(!published.contains("t0ps3cret"));
}

#[test]
fn an_image_that_does_not_exist_is_shown_in_the_kubelets_words() {
    let namespace = Namespace::new("noimage");
    namespace.with_remote_backend();
    namespace
        .apply(
            "{apiVersion: codecrucible.dev/v1alpha1, kind: CodeCrucible, metadata: {name: demo},
              spec: {image: {repository: codecrucible.dev/nothing, tag: x, pullPolicy: Never}, replicas: 1, backends: [remote]}}",
        )
        .unwrap();
    crate::support::eventually("the kubelet's words arrive", || {
        namespace.condition("demo", "Available").1.contains("ErrImageNeverPull")
    });
    assert_eq!(namespace.condition("demo", "Ready").0, "False/ReplicasUnavailable");
}

#[test]
fn a_broken_image_is_told_while_the_old_replicas_serve_on() {
    let namespace = Namespace::new("badupgrade");
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    namespace.wait_until_ready("demo");
    let patch = json!({"spec": {"image": {"tag": "broken", "pullPolicy": "Never"}}}).to_string();
    namespace.kubectl(&["patch", "codecrucible", "demo", "--type=merge", "-p", &patch]).unwrap();
    crate::support::eventually("the kubelet's words arrive", || {
        namespace.condition("demo", "Progressing").1.contains("ErrImageNeverPull")
    });
    assert_eq!(namespace.condition("demo", "Available").0, "True/MinimumReplicasAvailable");
    assert_eq!(namespace.condition("demo", "Reconciling").0, "True/RollingOut");
}

#[test]
fn a_quota_that_refuses_pods_is_told() {
    let namespace = Namespace::new("quota");
    namespace.kubectl(&["create", "quota", "none", "--hard=pods=0"]).unwrap();
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    crate::support::eventually("the refusal arrives", || {
        namespace.condition("demo", "Available").1.contains("exceeded quota: none")
    });
}

#[test]
fn a_model_with_another_hash_keeps_the_service_from_being_ready() {
    let namespace = Namespace::new("wronghash");
    namespace.with_local_model();
    let patch = json!({"spec": {"embedded": {"sha256": "0".repeat(64)}}}).to_string();
    namespace.kubectl(&["patch", "modelbackend", "local", "--type=merge", "-p", &patch]).unwrap();
    namespace.crucible("demo", "local", "").unwrap();
    crate::support::eventually("the log names both hashes", || {
        let log = namespace.kubectl(&["logs", "deployment/demo"]).unwrap_or_default();
        log.contains("0000000000000000 is pinned") && log.contains("b179c9523d0e6a0f")
    });
    assert_eq!(namespace.condition("demo", "Ready").0, "False/ReplicasUnavailable");
    crate::support::eventually("the resource points to the log", || {
        namespace.condition("demo", "Available").1.contains("kubectl logs")
    });
}
