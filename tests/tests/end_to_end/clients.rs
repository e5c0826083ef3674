//! Clients of applications: a Secret of their own in a namespace of their own, known to every replica, and out when they go.

use crate::support::{Namespace, eventually};
use codecrucible_tests::client::{Client, Credentials};
use codecrucible_tests::port_forward::PortForward;
use serde_json::json;

const CLIENT: &str = "apiVersion: codecrucible.dev/v1alpha1
kind: SynthesisClient
metadata: {name: app}
spec: {targetRef: {name: demo, namespace: clients-service}, credentials: {secretName: synthesis}}
";

fn state(apps: &Namespace<'_>, type_: &str) -> (String, String) {
    apps.condition_of("synthesisclient/app", type_)
}

fn wait_for(apps: &Namespace<'_>, type_: &str, expected: &str) -> String {
    eventually(&format!("the client has {type_}={expected}"), || state(apps, type_).0 == expected);
    state(apps, type_).1
}

#[test]
fn an_application_of_an_allowed_namespace_is_let_in_and_is_out_when_its_client_goes() {
    let (service, apps) = (Namespace::new("clients-service"), Namespace::new("clients-apps"));
    service.with_remote_backend().crucible("demo", "remote", "").unwrap();
    service.wait_until_ready("demo");

    // Not allowed yet: told so, and nothing is made.
    apps.apply(CLIENT).unwrap();
    let message = wait_for(&apps, "Accepted", "False/NamespaceNotAllowed");
    assert!(message.contains("spec.clients.allowedNamespaces"), "{message}");
    assert!(apps.get("secret/synthesis").is_none());

    let allow = json!({"spec": {"replicas": 2, "clients": {"allowedNamespaces": ["clients-apps"]}}});
    let patch =
        |change: &str| service.kubectl(&["patch", "codecrucible", "demo", "--type=merge", "-p", change]);
    patch(&allow.to_string()).unwrap();
    let waited = apps.kubectl(&["wait", "--for=condition=Ready", "--timeout=120s", "synthesisclient/app"]);
    assert!(waited.is_ok(), "{waited:?}");
    eventually("two replicas said that they know it", || {
        let clients = service.get("codecrucible/demo").unwrap()["status"]["clients"].clone();
        (&clients["appliedReplicas"], &clients["pendingReplicas"]) == (&json!(2), &json!(0))
    });

    let forward = PortForward::start(service.cluster, &service.name, "service/demo", 8080).unwrap();
    let credentials = Credentials::in_secret(apps.cluster, &apps.name, "synthesis").unwrap();
    assert_eq!(credentials.id, "clients-apps.app");
    let client = Client::authenticate(&forward.url(), &credentials).unwrap();
    assert_eq!(client.get("/v1/models").unwrap(), 200);
    // Nobody can read the secret where the service lives, nor in what people see of it.
    let seen = service.kubectl(&["get", "secrets,configmaps,codecrucibles", "-o", "json"]).unwrap();
    assert!(!seen.contains(&credentials.secret));

    // A lost Secret is another one, and the old one is good no longer.
    apps.kubectl(&["delete", "secret", "synthesis"]).unwrap();
    eventually("there is another secret, and it works", || {
        let renewed = Credentials::in_secret(apps.cluster, &apps.name, "synthesis");
        renewed.is_ok_and(|renewed| {
            renewed.secret != credentials.secret && Client::authenticate(&forward.url(), &renewed).is_ok()
        })
    });
    assert!(Client::authenticate(&forward.url(), &credentials).is_err());
    assert_eq!(client.get("/v1/models").unwrap(), 401, "a token ends with the secret that it was had with");
    let credentials = Credentials::in_secret(apps.cluster, &apps.name, "synthesis").unwrap();
    let client = Client::authenticate(&forward.url(), &credentials).unwrap();
    assert_eq!(client.get("/v1/models").unwrap(), 200);

    // Also while the service is wrong, so that nothing else of it is written.
    patch(&json!({"spec": {"backends": ["ghost"]}}).to_string()).unwrap();
    service.wait_for("demo", "Accepted", "False/ReferenceNotFound");
    apps.kubectl(&["delete", "synthesisclient", "app"]).unwrap();
    eventually("its token is good no longer", || client.get("/v1/models").unwrap() == 401);
    eventually("its Secret goes with it", || apps.get("secret/synthesis").is_none());
    eventually("the service counts no client", || {
        service.get("codecrucible/demo").unwrap()["status"]["clients"]["registered"] == 0
    });
}

#[test]
fn a_secret_of_somebody_else_is_left_alone_until_it_goes() {
    let namespace = Namespace::new("clients-taken");
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    namespace.kubectl(&["create", "secret", "generic", "app", "--from-literal=mine=kept"]).unwrap();
    namespace
        .apply(
            "{apiVersion: codecrucible.dev/v1alpha1, kind: SynthesisClient, metadata: {name: app}, spec: {targetRef: {name: demo}}}",
        )
        .unwrap();
    let message = wait_for(&namespace, "Stalled", "True/NotOwned");
    assert!(message.starts_with("spec.credentials.secretName: the Secret \"app\" exists"), "{message}");
    assert_eq!(namespace.get("secret/app").unwrap()["data"].as_object().unwrap().len(), 1);
    namespace.kubectl(&["delete", "secret", "app"]).unwrap();
    wait_for(&namespace, "Ready", "True/Registered");
}
