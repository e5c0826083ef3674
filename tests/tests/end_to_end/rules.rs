//! What the schema itself refuses and explains: every rule's message, as the API server shows it, and every field's text.

use crate::support::Namespace;
use codecrucible_tests::paths;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A resource that is valid, to be made wrong.
fn valid(kind: &str) -> Value {
    let spec = match kind {
        "CodeCrucible" => json!({"image": {"repository": "x", "tag": "x"}, "backends": ["a"]}),
        "ModelBackend" => json!({"type": "OpenAI", "url": "http://x", "models": [{"name": "m"}]}),
        "AccessPolicy" => json!({
            "roles": [{"name": "user", "permissions": [{"actions": ["Complete"]}]}],
            "bindings": [{"role": "user", "subjects": [{"kind": "Everyone"}]}],
        }),
        _ => json!({"targetRef": {"name": "demo"}}),
    };
    json!({"apiVersion": "codecrucible.dev/v1alpha1", "kind": kind, "metadata": {"name": "rules"}, "spec": spec})
}

/// For each rule a resource that breaks it: the kind, and what is merged into a valid one.
fn broken() -> Vec<(&'static str, Value)> {
    let service = |change: Value| ("CodeCrucible", json!({"spec": change}));
    let backend = |change: Value| ("ModelBackend", json!({"spec": change}));
    let client = |change: Value| ("SynthesisClient", json!({"spec": change}));
    let access = |change: Value| ("AccessPolicy", json!({"spec": change}));
    let bound_to = |subject: Value| json!({"bindings": [{"role": "user", "subjects": [subject]}]});
    let embedded = json!({"persistentVolumeClaim": "c", "path": "m.gguf", "sha256": "0".repeat(64)});
    vec![
        ("CodeCrucible", json!({"metadata": {"name": "x".repeat(41)}})),
        service(json!({"image": {"digest": format!("sha256:{}", "0".repeat(64))}})),
        service(json!({"autoscaling": {"minReplicas": 11}})),
        service(json!({"autoscaling": {"targetCpuPercent": 0, "targetMemoryPercent": 0}})),
        service(json!({"podMetadata": {"labels": {"app.kubernetes.io/name": "x"}}})),
        service(json!({"podMetadata": {"annotations": {"codecrucible.dev/template": "x"}}})),
        service(json!({"backends": ["a", "a"]})),
        service(json!({"network": {"allowedOrigins": ["*"]}})),
        service(json!({"tls": {"mode": "Disabled"}})),
        service(json!({"tls": {"mode": "Secret"}})),
        service(json!({"tls": {"mode": "CertManager"}})),
        service(json!({"tls": {"dnsNames": ["api.example.com"]}})),
        service(json!({"network": {"serviceAnnotations": {"codecrucible.dev/applied-hash": "x"}}})),
        service(
            json!({"network": {"ingress": {"hosts": ["x"], "annotations": {"codecrucible.dev/x": "x"}}}}),
        ),
        service(json!({"rateLimits": [{"name": "a", "limit": 1}, {"name": "a", "limit": 2}]})),
        service(json!({"cache": {"rules": [{"name": "a"}, {"name": "a"}]}})),
        service(json!({"rateLimits": [{"name": "a", "limit": 9, "burst": 9, "algorithm": "FixedWindow"}]})),
        service(
            json!({"rateLimits": [{"name": "a", "limit": 9, "unit": "ConcurrentRequests", "window": "1h"}]}),
        ),
        service(json!({"rateLimits": [{"name": "a", "limit": 9, "match": {"routes": ["Token"]}}]})),
        service(json!({"rateLimits": [
            {"name": "a", "limit": 9, "per": "Service", "unit": "Tokens", "match": {"routes": ["Token"]}},
        ]})),
        service(
            json!({"cache": {"rules": [{"name": "a"}], "redis": {"url": "redis://redis/1", "cluster": true}}}),
        ),
        service(json!({"redis": {"url": "redis://redis/1", "cluster": true}})),
        service(json!({"network": {"trustedProxyHops": 1}})),
        service(json!({"synthesis": {"defaultVoices": ["developer", "developer"]}})),
        backend(json!({"url": null})),
        backend(json!({"embedded": embedded})),
        backend(json!({"ollama": {"contextTokens": 8192}})),
        backend(json!({"type": "Ollama", "url": "http://x/v1"})),
        service(json!({"observability": {"traces": {"endpoint": "http://x:4318/v1/traces"}}})),
        backend(json!({
            "type": "Embedded", "url": null, "embedded": embedded,
            "credentialsSecretRef": {"name": "s", "key": "k"},
        })),
        access(json!({"roles": [{"name": "empty"}]})),
        access(bound_to(json!({"kind": "Everyone", "name": "x"}))),
        access(bound_to(json!({"kind": "Namespace", "name": "x", "namespace": "y"}))),
        client(json!({"targetRef": {"name": "other"}})),
        client(json!({"credentials": {"secretName": "other"}})),
    ]
}

fn merge(object: &mut Value, change: Value) {
    match (object, change) {
        (Value::Object(object), Value::Object(change)) => {
            for (key, value) in change {
                match value {
                    Value::Null => drop(object.remove(&key)),
                    value => merge(object.entry(key).or_insert(Value::Null), value),
                }
            }
        }
        (object, change) => *object = change,
    }
}

fn definitions() -> Vec<Value> {
    let folder = paths::repository().join("manifests/crds");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let definitions = files.filter(|path| path.to_string_lossy().contains("codecrucible.dev"));
    definitions.map(|path| serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()).collect()
}

/// The messages of all rules below a part of a schema.
fn messages(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            for rule in map.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                found.insert(rule["message"].as_str().expect("a rule without a message").to_owned());
            }
            map.values().for_each(|part| messages(part, found));
        }
        Value::Array(parts) => parts.iter().for_each(|part| messages(part, found)),
        _ => {}
    }
}

#[test]
fn every_rule_is_broken_once_and_says_what_to_do() {
    let namespace = Namespace::new("rules");
    for kind in ["AccessPolicy", "CodeCrucible", "ModelBackend", "SynthesisClient"] {
        namespace.apply(&valid(kind).to_string()).unwrap();
    }
    let mut rules = BTreeSet::new();
    definitions().iter().for_each(|definition| messages(definition, &mut rules));
    let mut shown = BTreeSet::new();
    for (kind, change) in broken() {
        let mut object = valid(kind);
        merge(&mut object, change);
        let refusal = namespace.dry_run(&object.to_string()).unwrap_err();
        let told: Vec<_> = rules.iter().filter(|message| refusal.contains(*message)).collect();
        assert!(!told.is_empty(), "{kind}: {refusal}");
        println!("{}", refusal.trim());
        shown.extend(told.into_iter().cloned());
    }
    let never: Vec<_> = rules.difference(&shown).collect();
    assert!(never.is_empty(), "rules that no resource here breaks: {never:?}");
}

#[test]
fn kubectl_explains_every_field() {
    let namespace = Namespace::new("explain");
    for resource in ["accesspolicy", "codecrucible", "modelbackend", "synthesisclient"] {
        for part in ["spec", "status"] {
            // A backend has no status.
            let Ok(text) = namespace.kubectl(&["explain", &format!("{resource}.{part}"), "--recursive"])
            else {
                assert_eq!((resource, part), ("modelbackend", "status"));
                continue;
            };
            assert!(text.contains("FIELDS:"), "{text}");
        }
    }
    for definition in definitions() {
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        for part in ["spec", "status"] {
            let path = format!("{} {part}", definition["spec"]["names"]["kind"]);
            schema.get(part).into_iter().for_each(|schema| assert_described(&path, schema));
        }
    }
}

fn assert_described(path: &str, schema: &Value) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let text = field["description"].as_str().unwrap_or_default();
        assert!(text.len() > 3, "{path} has no description");
        assert_described(&path, field);
        assert_described(&path, &field["items"]);
    }
}
