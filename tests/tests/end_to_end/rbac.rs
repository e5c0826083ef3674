//! The operator's rights: enough for all that it does, and none that it does not use.

use crate::audit::{Request, audit_length, requests_since};
use crate::rollout::rollout;
use crate::served::select;
use crate::support::{Namespace, Second, eventually, operators_account};
use codecrucible_tests::cluster::Cluster;
use codecrucible_tests::operator::{AUDITED_ACCOUNT, NAMESPACE, Operator};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Policies that are kept of a service.
const KEPT_POLICIES: usize = 10;
/// What no request shows: an admission plugin asks for it when an owner that blocks deletion is set.
const ASKED_BY_ADMISSION: [&str; 2] = [
    "codecrucible.dev codecrucibles/finalizers update",
    "codecrucible.dev synthesisclients/finalizers update",
];

#[test]
fn the_operator_has_the_rights_that_it_needs_and_no_others() {
    let second = Second::with_roles();
    let cluster = &second.cluster;
    operators_account(cluster, AUDITED_ACCOUNT);
    // The first one to lead makes the Lease.
    let lease = ["-n", NAMESPACE, "delete", "--ignore-not-found", "lease", "--all"];
    assert!(cluster.kubectl().unwrap().args(lease).status().unwrap().success());
    let begin = audit_length(cluster);
    let operator = Operator::start_as(cluster, "rbac", AUDITED_ACCOUNT).unwrap();
    let (namespace, apps) = (Namespace::on(cluster, "rbac"), Namespace::on(cluster, "rbac-apps"));
    everything(&namespace, &apps);
    assert!(operator.terminate().unwrap());

    let mut requests = requests_since(cluster, begin, AUDITED_ACCOUNT);
    // In a namespace that another test leaves to be deleted, nothing more can be made.
    let ours = ["", NAMESPACE, &namespace.name, &apps.name];
    requests.retain(|request| ours.contains(&request.namespace.as_str()));
    let refused: Vec<&Request> = requests.iter().filter(|request| request.code == 403).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let mut used: BTreeSet<String> = requests.iter().flat_map(rights_of).collect();
    used.extend(ASKED_BY_ADMISSION.map(str::to_owned));
    let given = given(cluster);
    assert!(given.len() > 40, "{given:?}");
    let unused: Vec<_> = given.difference(&used).collect();
    assert!(unused.is_empty(), "rights that nothing uses: {unused:?}");
}

/// The rights that a request needs: applying what does not exist is creating it too.
fn rights_of(request: &Request) -> Vec<String> {
    let Request { group, namespace: _, resource, verb, code } = request;
    let right = |verb: &str| format!("{group} {resource} {verb}");
    match (verb.as_str(), code) {
        ("patch", 201) => vec![right("patch"), right("create")],
        (verb, _) => vec![right(verb)],
    }
}

/// All that the operator's roles give.
fn given(cluster: &Cluster) -> BTreeSet<String> {
    let rules = |kind: &str, name: &str| -> Vec<Value> {
        let arguments = ["-n", NAMESPACE, "get", kind, name, "-o", "json"];
        let shown = cluster.kubectl().unwrap().args(arguments).output().unwrap();
        let role: Value = serde_json::from_slice(&shown.stdout).unwrap();
        role["rules"].as_array().unwrap().clone()
    };
    let rules = [
        rules("clusterrole", "codecrucible-operator"),
        rules("role", "codecrucible-operator-leader-election"),
    ];
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut given = BTreeSet::new();
    for rule in rules.iter().flatten() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                let verbs = texts(&rule["verbs"]).into_iter();
                given.extend(verbs.map(|verb| format!("{group} {resource} {verb}")));
            }
        }
    }
    given
}

/// Has cert-manager be asked for a certificate, and no longer. That nobody issues it does not matter.
fn issued(namespace: &Namespace<'_>) {
    namespace.cluster.define_certificates().unwrap();
    let tls_is = |tls: Value| {
        let change = json!({"spec": {"tls": tls}}).to_string();
        namespace.kubectl(&["patch", "codecrucible/demo", "--type=merge", "-p", &change]).unwrap();
    };
    let before = namespace.get("codecrucible/demo").unwrap()["spec"]["tls"].clone();
    tls_is(json!({"mode": "CertManager", "issuerRef": {"name": "nobody"}}));
    eventually("a certificate is asked for", || namespace.get("certificate/demo").is_some());
    tls_is(json!({"mode": before["mode"], "issuerRef": null}));
    eventually("it is asked for no longer", || namespace.get("certificate/demo").is_none());
    namespace.wait_until_ready("demo");
}

/// Has the service be reached from outside, and no longer. That nobody does it does not matter.
fn exposed(namespace: &Namespace<'_>) {
    namespace.cluster.define_gateways().unwrap();
    let is = |network: Value, tls: &Value| {
        let change = json!({"spec": {"network": network, "tls": {"mode": tls}}}).to_string();
        namespace.kubectl(&["patch", "codecrucible/demo", "--type=merge", "-p", &change]).unwrap();
    };
    let before = namespace.get("codecrucible/demo").unwrap()["spec"]["tls"]["mode"].clone();
    let are_there = |wanted: bool| {
        let ways = ["ingress/demo", "httproute/demo", "backendtlspolicy/demo"];
        ways.into_iter().all(|way| namespace.get(way).is_some() == wanted)
    };
    let ways = json!({"ingress": {"hosts": ["demo.example"]}, "route": {"gateways": [{"name": "none"}]}});
    is(ways, &json!("OperatorCA"));
    eventually("there are ways from outside", || are_there(true));
    is(json!({"ingress": null, "route": null}), &before);
    eventually("there are none", || are_there(false));
    namespace.wait_for("demo", "Reconciling", "False/Stable");
    eventually("one pod is left", || {
        namespace.kubectl(&["get", "pods", "-o", "name"]).unwrap().lines().count() == 1
    });
}

/// Has a new pod be tried out, and then take the place of the other one.
fn tried_out(namespace: &Namespace<'_>) {
    eventually("it has run well", || {
        let rollout = rollout(namespace);
        rollout["lastGood"] == rollout["revision"]
    });
    let canary = json!({"steps": [{"weightPercent": 50, "hold": "1s"}], "minimumRequests": 0});
    let resources = json!({"requests": {"cpu": "21m"}});
    select(namespace, &json!({"rollout": {"canary": canary}, "resources": resources}));
    eventually("a pod is tried out", || namespace.get("deployment/demo-canary").is_some());
    eventually("it is no longer", || namespace.get("deployment/demo-canary").is_none());
    select(namespace, &json!({"rollout": {"canary": null}}));
    namespace.wait_for("demo", "Reconciling", "False/Stable");
}

/// Has a replica stay behind another one until it is evicted.
fn evict(namespace: &Namespace<'_>) {
    let patch = |patch: &Value| {
        namespace.kubectl(&["patch", "codecrucible/demo", "--type=merge", "-p", &patch.to_string()]).unwrap();
    };
    let applied = || {
        let policy = namespace.get("codecrucible/demo").unwrap()["status"]["policy"].clone();
        (policy["appliedReplicas"].as_i64().unwrap_or_default(), policy["pinned"] == true)
    };
    patch(&json!({
        "metadata": {"annotations": {"codecrucible.dev/rollback-policy": null}},
        "spec": {"replicas": 2, "remediation": {"after": "10s"}},
    }));
    eventually("two replicas run the policy", || applied() == (2, false));
    let uid = namespace.kubectl(&["get", "pods", "-o", "jsonpath={.items[0].metadata.uid}"]).unwrap();
    let held = namespace.cluster.hold_volume(&uid, "kubernetes.io~configmap/policy").unwrap();
    patch(&json!({"spec": {"observability": {"logLevel": "Debug"}}}));
    eventually("a replica is evicted", || {
        namespace.get("deployment/demo").unwrap()["metadata"]["annotations"]["codecrucible.dev/evicted-at"]
            .is_string()
    });
    drop(held);
    eventually("two replicas run the policy again", || applied() == (2, false));
}

/// All that an operator is ever asked to do.
fn everything(namespace: &Namespace<'_>, apps: &Namespace<'_>) {
    let patch = |object: &str, patch: &Value| {
        namespace.kubectl(&["patch", object, "--type=merge", "-p", &patch.to_string()]).unwrap();
    };
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    namespace.wait_until_ready("demo");
    for tokens in 0..=KEPT_POLICIES {
        patch("codecrucible/demo", &json!({"spec": {"synthesis": {"maxTokensPerVoice": 100 + tokens}}}));
        let revision = format!("\"{}-", tokens + 2);
        eventually("the replica runs the policy", || {
            let status = namespace.get("codecrucible/demo").unwrap()["status"].clone();
            status["policy"]["revision"].to_string().starts_with(&revision)
                && status["policy"]["appliedReplicas"] == 1
        });
    }
    patch("codecrucible/demo", &json!({"spec": {"autoscaling": {"minReplicas": 1}}}));
    eventually("there is an autoscaler", || namespace.get("hpa/demo").is_some());
    patch("codecrucible/demo", &json!({"spec": {"autoscaling": null}}));
    eventually("there is none", || namespace.get("hpa/demo").is_none());
    let revision = namespace.get("codecrucible/demo").unwrap()["status"]["policy"]["revision"].clone();
    patch(
        "codecrucible/demo",
        &json!({"metadata": {"annotations": {"codecrucible.dev/rollback-policy": revision}}}),
    );
    eventually("the policy is held", || {
        namespace.get("codecrucible/demo").unwrap()["status"]["policy"]["pinned"] == true
    });

    tried_out(namespace);
    issued(namespace);
    exposed(namespace);
    evict(namespace);
    // A backend that no watch has shown is asked for.
    namespace.crucible("lost", "ghost", "").unwrap();
    namespace.wait_for("lost", "Accepted", "False/ReferenceNotFound");

    apps.apply(
        "{apiVersion: codecrucible.dev/v1alpha1, kind: SynthesisClient, metadata: {name: app}, spec: {targetRef: {name: demo, namespace: rbac}}}",
    )
    .unwrap();
    eventually("the client is told", || {
        apps.condition_of("synthesisclient/app", "Accepted").0 == "False/NamespaceNotAllowed"
    });
    patch("codecrucible/demo", &json!({"spec": {"clients": {"allowedNamespaces": [apps.name]}}}));
    barred(apps);

    namespace
        .apply("{apiVersion: codecrucible.dev/v1alpha1, kind: AccessPolicy, metadata: {name: all}, spec: {}}")
        .unwrap();
    eventually("the access policy is told of", || {
        namespace.condition_of("accesspolicy/all", "Ready").0 == "True/NotSelected"
    });
}

/// Has the client's Secret be refused again and again: the same twice is one Event that counts.
fn barred(apps: &Namespace<'_>) {
    let bar = json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": "rbac-no-secrets"},
            "spec": {
                "matchConstraints": {"resourceRules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]},
                ]},
                "validations": [{"expression": "object.metadata.name != 'barred'", "message": "not here"}],
            },
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": "rbac-no-secrets"},
            "spec": {"policyName": "rbac-no-secrets", "validationActions": ["Deny"]},
        },
    ]});
    apps.apply(&bar.to_string()).unwrap();
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: barred}}";
    eventually("the bar is closed", || apps.dry_run(secret).is_err());
    apps.apply(
        "{apiVersion: codecrucible.dev/v1alpha1, kind: SynthesisClient, metadata: {name: barred}, spec: {targetRef: {name: demo, namespace: rbac}}}",
    )
    .unwrap();
    eventually("the same Event is recorded again", || {
        let events = apps.kubectl(&["get", "events.events.k8s.io", "-o", "json"]).unwrap();
        events.contains("\"series\"")
    });
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        apps.kubectl(&["delete", kind, "rbac-no-secrets"]).unwrap();
    }
}
