//! Connections of clients are encrypted, with a certificate that is renewed without a failed request, or with one that
//! somebody gave.

use crate::sdk::run_with_sdk;
use crate::support::{Namespace, eventually};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use codecrucible_contract::certificates::{Certified, Role, authority, issue};
use codecrucible_tests::client::Credentials;
use codecrucible_tests::https::Https;
use codecrucible_tests::port_forward::PortForward;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Connections that are made while a certificate is replaced.
const CONNECTIONS: usize = 40;

fn service(namespace: &Namespace<'_>, tls: &Value) {
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    let change = json!({"spec": {"profile": "Production", "tls": tls}});
    namespace.kubectl(&["patch", "codecrucible", "demo", "--type=merge", "-p", &change.to_string()]).unwrap();
    namespace.wait_for("demo", "CertificateValid", "True/Shown");
    namespace.wait_until_ready("demo");
}

fn secret_text(namespace: &Namespace<'_>, secret: &str, key: &str) -> String {
    let secret = namespace.get(&format!("secret/{secret}")).unwrap();
    let encoded = secret["data"][key].as_str().unwrap_or_else(|| panic!("no {key}"));
    String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
}

fn status(namespace: &Namespace<'_>) -> Value {
    namespace.get("codecrucible/demo").unwrap()["status"]["certificate"].clone()
}

/// One of its pods.
fn reach(namespace: &Namespace<'_>) -> PortForward {
    PortForward::start(namespace.cluster, &namespace.name, "service/demo", 8080).unwrap()
}

#[test]
fn the_operators_certificate_serves_clients_and_is_renewed_without_a_failed_connection() {
    let namespace = Namespace::new("tls");
    service(&namespace, &json!({"mode": "OperatorCA"}));
    let authority = secret_text(&namespace, "demo-client", "ca.crt");
    assert_eq!(status(&namespace)["authority"], authority.as_str());
    let base = secret_text(&namespace, "demo-client", "base-url");
    assert_eq!(base, "https://demo.tls.svc:8080/v1");

    let forward = reach(&namespace);
    let client = Https::new(&authority, "demo.tls.svc", forward.address()).unwrap();
    let credentials = Credentials::of(namespace.cluster, &namespace.name, "demo").unwrap();
    let token = client.token(&credentials.id, &credentials.secret).unwrap();
    let first = client.get("/v1/models", &token).unwrap();
    assert_eq!((first.status, json!(first.fingerprint)), (200, status(&namespace)["fingerprint"].clone()));
    let old =
        Https::speaking(&rustls::version::TLS12, &authority, "demo.tls.svc", forward.address()).unwrap();
    assert!(old.get("/v1/models", &token).is_err(), "TLS 1.2 is spoken");
    assert!(Https::new(&authority, "other.tls.svc", forward.address()).unwrap().get("/livez", "").is_err());

    let file = std::env::temp_dir().join(format!("authority-{}.pem", std::process::id()));
    std::fs::write(&file, &authority).unwrap();
    let url = format!("https://demo.tls.svc:{}", forward.address().port());
    run_with_sdk("openai_tls.py", &url, &token, &[("AUTHORITY", file.to_str().unwrap())]);
    std::fs::remove_file(&file).unwrap();

    // Due for renewal, while a client never stops.
    let due = json!({"data": {"not-after": STANDARD.encode("1")}}).to_string();
    namespace.kubectl(&["patch", "secret/demo-certificate", "--type=merge", "-p", &due]).unwrap();
    let mut connections = 0;
    eventually("another certificate is shown", || {
        connections += 1;
        let shown = client.get("/v1/models", &token).unwrap();
        assert_eq!(shown.status, 200);
        shown.fingerprint != first.fingerprint
    });
    for _ in 0..CONNECTIONS {
        assert_eq!(client.get("/v1/models", &token).unwrap().status, 200);
    }
    println!("0 of {} connections failed while the certificate was renewed", connections + CONNECTIONS);
    eventually("the status tells of the new one", || {
        let status = status(&namespace);
        status["fingerprint"] != json!(first.fingerprint) && status["appliedReplicas"] == 1
    });
    namespace.wait_for("demo", "CertificateValid", "True/Shown");
}

/// A certificate of an authority of somebody's own.
fn given(name: &str) -> (Certified, Certified) {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let authority = authority("somebody", now).unwrap();
    let certified = issue(&authority, "somebody", Role::Server(&[name.to_owned()]), now).unwrap();
    (authority, certified)
}

fn give(namespace: &Namespace<'_>, (authority, certified): &(Certified, Certified)) {
    let data =
        json!({"tls.crt": certified.certificate, "tls.key": certified.key, "ca.crt": authority.certificate});
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}, "stringData": data});
    namespace.apply(&secret.to_string()).unwrap();
}

#[test]
fn a_certificate_that_somebody_gave_is_shown_as_soon_as_it_changes_and_a_broken_one_never() {
    let namespace = Namespace::new("tls-given");
    let first = given("api.example.com");
    give(&namespace, &first);
    service(&namespace, &json!({"mode": "Secret", "secretName": "mine"}));
    let forward = reach(&namespace);
    let shows = |given: &(Certified, Certified)| {
        let client = Https::new(&given.0.certificate, "api.example.com", forward.address()).unwrap();
        client.get("/livez", "").is_ok_and(|shown| shown.status == 200)
    };
    assert!(shows(&first));
    assert_eq!(secret_text(&namespace, "demo-client", "ca.crt"), first.0.certificate);

    let generation = || namespace.get("deployment/demo").unwrap()["metadata"]["generation"].clone();
    let serving = || -> Vec<Value> {
        let pods = namespace.get("pods").unwrap()["items"].as_array().cloned().unwrap();
        let is_ready = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
        pods.into_iter().filter(is_ready).map(|pod| pod["metadata"]["uid"].clone()).collect()
    };
    // A pod of the template without TLS, by which the service began, may still serve.
    eventually("one pod serves", || serving().len() == 1);
    let before = (generation(), serving());
    let second = given("api.example.com");
    give(&namespace, &second);
    eventually("the new one is shown", || shows(&second));
    let pods = namespace.kubectl(&["get", "pods,replicasets", "-o", "wide"]);
    assert_eq!((generation(), serving()), before, "by the same pods: {pods:?}");
    namespace.wait_for("demo", "CertificateValid", "True/Shown");

    give(&namespace, &(second.0.clone(), Certified { key: first.1.key.clone(), ..second.1.clone() }));
    let told = namespace.wait_for("demo", "Accepted", "False/Invalid");
    assert!(
        told.starts_with("spec.tls.secretName: of the Secret \"mine\", tls.key is not the key"),
        "{told}"
    );
    assert!(shows(&second), "the last good one stays");
    give(&namespace, &second);
    namespace.wait_for("demo", "Accepted", "True/Valid");
    namespace.kubectl(&["delete", "secret", "mine"]).unwrap();
    let told = namespace.wait_for("demo", "Accepted", "False/ReferenceNotFound");
    assert!(told.starts_with("spec.tls.secretName: there is no Secret \"mine\""), "{told}");
    assert!(shows(&second));
}

/// An issuer of cert-manager, with an authority of its own.
fn issuer(namespace: &Namespace<'_>, name: &str) -> String {
    let (authority, _) = given("nobody");
    let data = json!({"tls.crt": authority.certificate, "tls.key": authority.key});
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
    let issuer = json!({"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": name},
        "spec": {"ca": {"secretName": name}}});
    namespace
        .apply(&json!({"apiVersion": "v1", "kind": "List", "items": [secret, issuer]}).to_string())
        .unwrap();
    authority.certificate
}

/// What a person does who runs `cmctl renew`.
fn renew(namespace: &Namespace<'_>) {
    let now =
        namespace.get("certificate/demo").unwrap()["status"]["conditions"][0]["lastTransitionTime"].clone();
    let issuing = json!({"type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "now",
        "lastTransitionTime": now});
    let patch = json!([{"op": "add", "path": "/status/conditions/-", "value": issuing}]).to_string();
    let arguments = ["patch", "certificate/demo", "--subresource=status", "--type=json", "-p", &patch];
    namespace.kubectl(&arguments).unwrap();
}

/// The pods of before serve on until there is a certificate.
fn keeps_what_clients_know_while_another_issuer_is_awaited(
    namespace: &Namespace<'_>,
    tls_is: &dyn Fn(&Value),
    authority: &str,
) {
    namespace.kubectl(&["delete", "--ignore-not-found", "secret", "demo-tls"]).unwrap();
    tls_is(&json!({"mode": "CertManager", "issuerRef": {"name": "late"}}));
    let told = namespace.wait_for("demo", "Reconciling", "True/AwaitingCertificate");
    assert!(told.starts_with("cert-manager has not issued the certificate: "), "{told}");
    assert!(told.contains("Issuer \"late\""), "{told}");
    assert_eq!(secret_text(namespace, "demo-client", "ca.crt"), authority);
    let forward = reach(namespace);
    let client = Https::new(authority, "demo.tls-issued.svc", forward.address()).unwrap();
    assert_eq!(client.get("/livez", "").unwrap().status, 200);
    let late = issuer(namespace, "late");
    eventually("clients are told of the new authority", || {
        secret_text(namespace, "demo-client", "ca.crt").trim() == late.replace("\r\n", "\n").trim()
    });
    namespace.wait_for("demo", "CertificateValid", "True/Shown");
    tls_is(&json!({"mode": "OperatorCA", "issuerRef": null}));
}

#[test]
fn what_cert_manager_issues_is_waited_for_shown_renewed_and_no_longer_asked_for() {
    let namespace = Namespace::new("tls-issued");
    let definition = ["delete", "--ignore-not-found", "crd", "certificates.cert-manager.io"];
    namespace.kubectl(&definition).unwrap();
    let tls = json!({"mode": "CertManager", "issuerRef": {"name": "team"}});
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    let tls_is = |tls: &Value| {
        let change = json!({"spec": {"profile": "Production", "tls": tls}}).to_string();
        namespace.kubectl(&["patch", "codecrucible", "demo", "--type=merge", "-p", &change]).unwrap();
    };
    tls_is(&tls);
    let told = namespace.wait_for("demo", "Accepted", "False/ApiNotServed");
    assert!(told.starts_with("spec.tls.mode: the cluster does not serve cert-manager.io/v1"), "{told}");

    namespace.cluster.serve_certificates().unwrap();
    let told = namespace.wait_for("demo", "CertificateValid", "False/Pending");
    assert!(told.starts_with("cert-manager has not issued the certificate: "), "{told}");
    namespace.wait_for("demo", "Accepted", "True/Valid");
    let authority = issuer(&namespace, "team");
    namespace.wait_for("demo", "CertificateValid", "True/Shown");
    namespace.wait_until_ready("demo");
    assert_eq!(
        secret_text(&namespace, "demo-client", "ca.crt").trim(),
        authority.replace("\r\n", "\n").trim()
    );

    let forward = reach(&namespace);
    let client = Https::new(&authority, "demo.tls-issued.svc", forward.address()).unwrap();
    let credentials = Credentials::of(namespace.cluster, &namespace.name, "demo").unwrap();
    let token = client.token(&credentials.id, &credentials.secret).unwrap();
    let first = client.get("/v1/models", &token).unwrap();
    assert_eq!((first.status, json!(first.fingerprint)), (200, status(&namespace)["fingerprint"].clone()));
    renew(&namespace);
    let mut connections = 0;
    eventually("another certificate is shown", || {
        connections += 1;
        let shown = client.get("/v1/models", &token).unwrap();
        assert_eq!(shown.status, 200);
        shown.fingerprint != first.fingerprint
    });
    println!("0 of {connections} connections failed while cert-manager renewed the certificate");
    namespace.wait_for("demo", "CertificateValid", "True/Shown");

    let names = || namespace.get("certificate/demo").map(|object| object["spec"]["dnsNames"].clone());
    let edit = json!({"spec": {"dnsNames": ["edited.example.com"]}}).to_string();
    namespace.kubectl(&["patch", "certificate/demo", "--type=merge", "-p", &edit]).unwrap();
    let asked_for = json!(["demo.tls-issued.svc", "demo.tls-issued.svc.cluster.local"]);
    eventually("what is asked for is put back", || names() == Some(asked_for.clone()));
    tls_is(&json!({"mode": "OperatorCA", "issuerRef": null}));
    eventually("nothing is asked for", || names().is_none());
    namespace.wait_for("demo", "CertificateValid", "True/Shown");
    let authority = secret_text(&namespace, "demo-client", "ca.crt");
    assert_eq!(status(&namespace)["authority"], authority.as_str());

    keeps_what_clients_know_while_another_issuer_is_awaited(&namespace, &tls_is, &authority);
    eventually("nothing is asked for", || names().is_none());

    // Whose certificate is in a Secret of that name, cert-manager does not ask.
    let mine = "{apiVersion: v1, kind: Secret, metadata: {name: demo-tls}}";
    namespace.kubectl(&["delete", "--ignore-not-found", "secret", "demo-tls"]).unwrap();
    namespace.apply(mine).unwrap();
    tls_is(&tls);
    let told = namespace.wait_for("demo", "Accepted", "False/NotOwned");
    assert!(told.contains("\"demo-tls\" is not what cert-manager made"), "{told}");
    assert!(names().is_none(), "cert-manager would overwrite it");
}
