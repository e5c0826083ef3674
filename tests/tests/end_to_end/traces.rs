//! What a reconcile did, and what requests were, is told to a collector, where there is one.

use crate::model_server::ModelServer;
use crate::support::{CLUSTER, Namespace, Second, eventually};
use codecrucible_contract::certificates::{Certified, Role, authority, issue};
use codecrucible_tests::client::{Client, Credentials};
use codecrucible_tests::cluster::Collector;
use codecrucible_tests::operator::Operator;
use codecrucible_tests::port_forward::PortForward;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// The spans of all batches, each with the service that it is of.
fn spans(batches: &[Value]) -> Vec<(String, Value)> {
    let mut spans = Vec::new();
    for resource in batches.iter().flat_map(|batch| batch["resourceSpans"].as_array().unwrap()) {
        let service = attribute(&resource["resource"], "service.name");
        for scope in resource["scopeSpans"].as_array().unwrap() {
            spans.extend(
                scope["spans"].as_array().unwrap().iter().map(|span| (service.clone(), span.clone())),
            );
        }
    }
    spans
}

fn attribute(of: &Value, key: &str) -> String {
    let found = of["attributes"].as_array().unwrap().iter().find(|attribute| attribute["key"] == key);
    found.map(|attribute| attribute["value"]["stringValue"].as_str().unwrap().to_owned()).unwrap_or_default()
}

/// What a collector shows, and the authority that it is of.
fn certificate() -> (Certified, String) {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let trusted = authority("somebody", now).unwrap();
    let shown = issue(&trusted, "somebody", Role::Server(&[Collector::HOST.to_owned()]), now).unwrap();
    (shown, trusted.certificate)
}

#[test]
fn a_reconcile_and_its_requests_are_one_trace_that_a_collector_is_told_of() {
    let second = Second::with_roles();
    let namespace = Namespace::on(&second.cluster, "traces");
    let (shown, authority) = certificate();
    let file = std::env::temp_dir().join(format!("codecrucible-traces-{}.crt", std::process::id()));
    fs::write(&file, authority).unwrap();
    let collector = second.cluster.collect_traces(&shown).unwrap();

    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", Collector::endpoint()),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", file.to_str().unwrap().to_owned()),
        ("POD_NAME", "traces-0".to_owned()),
    ];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let operator = Operator::start_in(&second.cluster, "traces", &environment).unwrap();
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    namespace.wait_for("demo", "Accepted", "True/Valid");
    // What is left it tells when it ends.
    assert!(operator.terminate().unwrap());

    // Others that were on this cluster before may be told of too.
    let is_ours = |span: &Value| attribute(span, "object.ref").contains("/demo.traces");
    let mut told = Vec::new();
    let mut of_trace = Vec::new();
    eventually("the collector was told of a reconcile that wrote", || {
        told = spans(&collector.told().unwrap());
        let traces = told.iter().filter(|(_, span)| is_ours(span)).map(|(_, root)| &root["traceId"]);
        let of = |trace: &Value| -> Vec<Value> {
            told.iter().map(|(_, span)| span).filter(|span| span["traceId"] == *trace).cloned().collect()
        };
        let wrote = |trace: &Vec<Value>| trace.iter().any(|span| span["name"] == "apply");
        of_trace = traces.map(of).find(wrote).unwrap_or_default();
        !of_trace.is_empty()
    });
    assert!(told.iter().all(|(service, _)| service == "codecrucible-operator"));
    let names: BTreeSet<_> = of_trace.iter().map(|span| span["name"].as_str().unwrap()).collect();
    for part in ["reconciling object", "reconcile", "observe", "look", "apply", "report"] {
        assert!(names.contains(part), "{part} is not among {names:?}");
    }
    let named = |name: &str| of_trace.iter().find(|span| span["name"] == name).unwrap();
    let (root, apply) = (named("reconciling object"), named("apply"));
    assert!(root["parentSpanId"].as_str().is_none_or(str::is_empty), "{root}");
    // The requests by which it wrote.
    let written = of_trace.iter().filter(|span| span["parentSpanId"] == apply["spanId"]);
    let urls: Vec<_> = written.map(|span| attribute(span, "url.full")).collect();
    assert!(urls.iter().any(|url| url.contains("/namespaces/traces/deployments/demo")), "{urls:?}");
    // No request of a watch or of the lease begins a trace.
    assert!(told.iter().all(|(_, span)| span["name"] == "reconciling object"
        || !span["parentSpanId"].as_str().unwrap_or_default().is_empty()));
    fs::remove_file(file).unwrap();
}

#[test]
fn requests_are_told_of_from_a_patch_on_and_what_models_were_asked_within_them() {
    let namespace = Namespace::new("request-traces");
    let backend = ModelServer::start();
    let collector = CLUSTER.collect_traces(&certificate().0).unwrap();
    let address = backend.address;
    namespace
        .apply(&format!(
            "
apiVersion: codecrucible.dev/v1alpha1
kind: ModelBackend
metadata: {{name: remote}}
spec: {{type: OpenAI, url: 'http://{address}/v1', models: [{{name: coder}}]}}
"
        ))
        .unwrap();
    namespace.crucible("demo", "remote", "").unwrap();
    namespace.wait_until_ready("demo");
    let forward = PortForward::start(namespace.cluster, &namespace.name, "service/demo", 8080).unwrap();
    let credentials = Credentials::of(namespace.cluster, &namespace.name, "demo").unwrap();
    let client = Client::authenticate(&forward.url(), &credentials).unwrap();
    let traces = json!({"endpoint": Collector::plain_endpoint(), "samplePercent": 100});
    let patch = json!({"spec": {"observability": {"traces": traces}}}).to_string();
    namespace.kubectl(&["patch", "codecrucible", "demo", "--type=merge", "-p", &patch]).unwrap();

    let question = json!({"model": "coder", "messages": [{"role": "user", "content": "Hi"}]});
    let mut told = Vec::new();
    eventually("the collector was told of a chat", || {
        client.post_json("/v1/chat/completions", &question).unwrap();
        told = spans(&collector.told().unwrap());
        told.iter().any(|(_, span)| span["name"] == "chat coder")
    });
    assert!(told.iter().all(|(service, _)| service == "demo"));
    let (_, asked) = told.iter().find(|(_, span)| span["name"] == "chat coder").unwrap();
    assert_eq!(attribute(asked, "gen_ai.provider.name"), "openai");
    let named = |name: &str| {
        told.iter()
            .map(|(_, span)| span)
            .find(|span| span["traceId"] == asked["traceId"] && span["name"] == name)
    };
    let request = named("POST /v1/chat/completions").unwrap();
    assert_eq!((&request["spanId"], &request["kind"]), (&asked["parentSpanId"], &json!(2)));
    assert_eq!(attribute(request, "codecrucible.client"), "demo");
    assert_eq!(named("attempt remote").unwrap()["parentSpanId"], asked["spanId"]);
}
