//! Two ways to install, kustomize and Helm: the same objects, which a real API server takes, and an operator that leads.

use crate::schemas::Schemas;
use crate::support::{CLUSTER, Namespace, Second};
use codecrucible_tests::cluster::Cluster;
use codecrucible_tests::{paths, product};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

const CHART: &str = "charts/codecrucible-operator";
const NAMESPACE: &str = "codecrucible-system";
/// What Helm puts on objects to find them again.
const HELMS_LABELS: [&str; 4] = [
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
];

/// Runs a command in the repository; gives what it printed.
fn output(command: &mut Command) -> String {
    let output = command.current_dir(paths::repository()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn kustomized(cluster: &Cluster, folder: &str) -> String {
    output(cluster.kubectl().unwrap().args(["kustomize", folder]))
}

fn helm(cluster: &Cluster, arguments: &[&str]) -> String {
    output(cluster.helm().unwrap().args(arguments))
}

/// Objects by kind and name.
fn objects(yaml: &str) -> BTreeMap<String, Value> {
    let documents = serde_yaml::Deserializer::from_str(yaml);
    let objects = documents.map(|document| serde::Deserialize::deserialize(document).unwrap());
    let objects = objects.filter(|object: &Value| !object.is_null());
    let name = |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]);
    objects.map(|object| (name(&object), object)).collect()
}

/// Without what Helm adds to tell its objects from others.
fn without_helms_marks(mut object: Value) -> Value {
    let is_definition = object["kind"] == "CustomResourceDefinition";
    let metadata = object["metadata"].as_object_mut().unwrap();
    if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
        labels.retain(|name, _| !HELMS_LABELS.contains(&name.as_str()));
    }
    if metadata.get("labels").and_then(Value::as_object).is_some_and(serde_json::Map::is_empty) {
        metadata.remove("labels");
    }
    if is_definition {
        metadata.remove("annotations");
    }
    object
}

#[test]
fn helm_and_kustomize_make_the_same_objects() {
    let mut kustomized = objects(&kustomized(&CLUSTER, "manifests"));
    assert!(kustomized.remove("\"Namespace\" \"codecrucible-system\"").is_some());
    let template =
        ["template", "codecrucible", CHART, "-n", NAMESPACE, "--skip-crds", "--set", "crds.manage=true"];
    let templated = objects(&helm(&CLUSTER, &template)).into_iter();
    let templated: BTreeMap<_, _> = templated
        .filter(|(_, object)| object["metadata"]["annotations"]["helm.sh/hook"].is_null())
        .map(|(name, object)| (name, without_helms_marks(object)))
        .collect();
    assert!(templated.keys().eq(kustomized.keys()), "{:?}\n{:?}", templated.keys(), kustomized.keys());
    for (name, object) in kustomized {
        assert_eq!(templated[&name], object, "{name}");
    }
}

#[test]
fn the_chart_is_sound_and_refuses_what_it_does_not_know() {
    helm(&CLUSTER, &["lint", "--strict", CHART]);
    for (set, problem) in [
        ("replicaCount=3", "replicaCount"),
        ("concurrency=65", "concurrency"),
        ("podLabels.app\\.kubernetes\\.io/name=x", "podLabels"),
    ] {
        let mut command = CLUSTER.helm().unwrap();
        let refused = command
            .current_dir(paths::repository())
            .args(["template", CHART, "--set", set])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && told.contains(problem), "{set}: {told}");
    }
}

#[test]
fn what_is_rendered_has_no_field_that_the_api_does_not_have() {
    let mut rendered: Vec<(String, String)> = ["manifests", "manifests/crds"]
        .into_iter()
        .map(str::to_owned)
        .chain(["development", "staging", "production"].map(|name| format!("manifests/overlays/{name}")))
        .map(|folder| (folder.clone(), kustomized(&CLUSTER, &folder)))
        .collect();
    for values in ["crds.manage=true", "watchNamespace=team", "replicas=1", "metrics.service=true"] {
        let template =
            ["template", "codecrucible", CHART, "-n", NAMESPACE, "--include-crds", "--set", values];
        rendered.push((format!("helm {values}"), helm(&CLUSTER, &template)));
    }
    for sample in std::fs::read_dir(paths::repository().join("manifests/samples")).unwrap() {
        let path = sample.unwrap().path();
        rendered.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
    }
    let made = rendered.iter().flat_map(|(_, yaml)| objects(yaml).into_values());
    let kinds: BTreeSet<String> = made.map(|object| object["kind"].as_str().unwrap().to_owned()).collect();
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
    let schemas = Schemas::of(&CLUSTER, &kinds);
    for (what, yaml) in &rendered {
        let (is_valid, told) = schemas.judge(&CLUSTER, yaml);
        println!("{what}: {told}");
        assert!(is_valid && told.contains("Skipped: 0"), "{what}: {told}");
    }
    // A kind of ours, and one of Kubernetes'.
    for (file, before) in [("samples/demo.yaml", "\n  backends:"), ("manifests", "\n      containers:")] {
        let yaml = &rendered.iter().find(|(what, _)| what.ends_with(file)).unwrap().1;
        let indentation = &before[..before.rfind(' ').unwrap() + 1];
        let misspelt = yaml.replacen(before, &format!("{indentation}misspelt: 1{before}"), 1);
        let (is_valid, told) = schemas.judge(&CLUSTER, &misspelt);
        assert!(!is_valid && told.contains("misspelt"), "a misspelt field is not found: {told}");
    }
}

#[test]
fn a_real_api_server_takes_all_overlays_and_samples() {
    for folder in ["development", "staging", "production"] {
        let overlay = format!("manifests/overlays/{folder}");
        let dry_run =
            ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-k"];
        let told = output(CLUSTER.kubectl().unwrap().args(dry_run).arg(overlay));
        assert!(told.contains("deployment.apps/codecrucible-operator"), "{told}");
    }
    for sample in std::fs::read_dir(paths::repository().join("manifests/samples")).unwrap() {
        let yaml = std::fs::read_to_string(sample.unwrap().path()).unwrap();
        // Its namespace does not exist yet, and a dry run makes none.
        let yaml = yaml
            .replace("  namespace: demo\n", "  namespace: default\n")
            .replace("  namespace: shop\n", "  namespace: default\n")
            .replace("namespace: demo,", "namespace: default,");
        let file = std::env::temp_dir().join(format!("codecrucible-sample-{}.yaml", std::process::id()));
        std::fs::write(&file, yaml).unwrap();
        let dry_run = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f"];
        output(CLUSTER.kubectl().unwrap().args(dry_run).arg(&file));
        std::fs::remove_file(file).unwrap();
    }
}

#[test]
fn an_operator_of_one_namespace_needs_no_rights_in_others_and_leaves_them_alone() {
    let second = Second::up();
    let cluster = &second.cluster;
    let (watched, other) = (Namespace::on(cluster, "watched"), Namespace::on(cluster, "unwatched"));
    let roles = paths::repository().join("manifests/rbac");
    output(cluster.kubectl().unwrap().args(["delete", "--ignore-not-found", "-k"]).arg(roles));
    let only = ["--set", "watchNamespace=watched"];
    let release = ["codecrucible", CHART, "-n", "watched", "--wait", "--timeout=2m"];
    helm(cluster, &[&["install"][..], &release, &only].concat());
    let told = helm(cluster, &["test", "codecrucible", "-n", "watched", "--timeout=2m"]);
    assert!(told.contains("Succeeded"), "{told}");
    let cluster_roles = output(cluster.kubectl().unwrap().args(["get", "clusterroles", "-o", "name"]));
    assert!(!cluster_roles.contains("codecrucible-operator"), "{cluster_roles}");
    for namespace in [&other, &watched] {
        namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    }
    watched.wait_until_ready("demo");
    watched.wait_for("demo", "PolicySynced", "True/Applied");
    let left_alone = other.get("codecrucible/demo").unwrap()["status"]["observedGeneration"].clone();
    assert_eq!(left_alone, -1, "nobody has seen it");
    helm(cluster, &["uninstall", "codecrucible", "-n", "watched", "--wait", "--timeout=2m"]);
    product::apply_manifests(cluster, "rbac").unwrap();
}

#[test]
fn helm_installs_tests_upgrades_and_uninstalls() {
    let second = Second::up();
    let cluster = &second.cluster;
    // The roles of those who were here before belong to kustomize.
    let manifests = paths::repository().join("manifests/rbac");
    output(cluster.kubectl().unwrap().args(["delete", "--ignore-not-found", "-k"]).arg(manifests));
    let namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: codecrucible-system, labels: {pod-security.kubernetes.io/enforce: restricted}}}";
    cluster.apply(namespace).unwrap();
    let release = ["codecrucible", CHART, "-n", NAMESPACE, "--wait", "--timeout=2m"];
    helm(cluster, &[&["install"][..], &release].concat());
    let told = helm(cluster, &["test", "codecrucible", "-n", NAMESPACE, "--timeout=2m"]);
    assert!(told.contains("Succeeded"), "{told}");
    helm(cluster, &[&["upgrade"][..], &release, &["--set", "replicas=1", "--set", "concurrency=4"]].concat());
    let arguments = "jsonpath={.spec.replicas} {.spec.template.spec.containers[0].args}";
    let shown = ["-n", NAMESPACE, "get", "deployment", "codecrucible-operator", "-o", arguments];
    let shown = output(cluster.kubectl().unwrap().args(shown));
    assert_eq!(shown, r#"1 ["--listen","0.0.0.0:8081","--concurrency","4"]"#);
    helm(cluster, &["uninstall", "codecrucible", "-n", NAMESPACE, "--wait", "--timeout=2m"]);
    let definitions = output(cluster.kubectl().unwrap().args(["get", "crd", "-o", "name"]));
    assert!(definitions.contains("codecrucibles.codecrucible.dev"), "they stay, and so do all services");
    product::apply_manifests(cluster, "rbac").unwrap();
}
