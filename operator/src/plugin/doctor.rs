//! Finds common faults, names them, and says what to do.

use super::paint::{Paint, harmless};
use super::view::View;
use crate::conventions::is_absent;
use crate::leader;
use codecrucible_crds::{AccessPolicy, CodeCrucible, Rejection, SynthesisClient, conditions as names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt as _};
use std::fmt::Write as _;

/// Something that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    what: String,
    advice: String,
}

fn finding(what: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { what: what.into(), advice: advice.into() }
}

/// Looks at the installation, and at the services of a namespace.
pub(super) async fn look(
    client: &Client,
    namespace: &str,
    operator_namespace: &str,
) -> anyhow::Result<Vec<Finding>> {
    let api: Api<CodeCrucible> = Api::namespaced(client.clone(), namespace);
    let listed = match api.list(&ListParams::default()).await {
        Err(error) if is_absent(&error) => {
            return Ok(vec![finding(
                "the API server does not know CodeCrucibles",
                "install the operator: kubectl apply --server-side -k manifests, or the chart",
            )]);
        }
        listed => listed?,
    };
    let mut findings: Vec<_> = operator(client, operator_namespace).await.into_iter().collect();
    for resource in &listed.items {
        findings.extend(service(&View::of(client, resource).await?));
    }
    let policies: Api<AccessPolicy> = Api::namespaced(client.clone(), namespace);
    for policy in policies.list(&ListParams::default()).await?.items {
        findings.extend(refused(&policy, policy.status.as_ref().map(|status| &*status.conditions)));
        findings.extend(selected_by_nobody(&policy));
    }
    let clients: Api<SynthesisClient> = Api::namespaced(client.clone(), namespace);
    for client in clients.list(&ListParams::default()).await?.items {
        findings.extend(refused(&client, client.status.as_ref().map(|status| &*status.conditions)));
    }
    Ok(findings)
}

fn selected_by_nobody(policy: &AccessPolicy) -> Option<Finding> {
    let conditions = &policy.status.as_ref()?.conditions;
    conditions.iter().find(|condition| condition.reason == names::REASON_NOT_SELECTED)?;
    let what = format!(
        "AccessPolicy {}/{} decides nothing: no CodeCrucible selects it",
        policy.namespace().unwrap_or_default(),
        policy.name_any()
    );
    Some(finding(what, "compare its labels with spec.policySelector of the service"))
}

/// What stands in the way of something that has conditions.
fn refused<K>(object: &K, conditions: Option<&[Condition]>) -> Option<Finding>
where
    K: Resource<DynamicType = ()>,
{
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let what = format!("{} {namespace}/{name}", K::kind(&()));
    // The API server itself gives a status to what no operator has looked at.
    let accepted = |conditions: &&[Condition]| conditions.iter().any(|one| one.type_ == names::ACCEPTED);
    let Some(conditions) = conditions.filter(accepted) else {
        return Some(finding(
            format!("no operator has looked at {what}"),
            "does one lead, and watch this namespace?",
        ));
    };
    let refusal = conditions
        .iter()
        .find(|condition| condition.type_ == names::ACCEPTED && condition.status == "False")?;
    let told = format!("{what}: {}: {}", refusal.reason, harmless(&refusal.message));
    Some(finding(told, "change the field that the message begins with"))
}

async fn operator(client: &Client, namespace: &str) -> Option<Finding> {
    let logs =
        format!("kubectl -n {namespace} get pods, and logs -l app.kubernetes.io/name=codecrucible-operator");
    match leader::holder(client, namespace).await {
        Ok(Some(_)) => None,
        Ok(None) => Some(finding(format!("no operator leads in {namespace}: nothing is reconciled"), logs)),
        // Whoever looks after one namespace may not read another one's leases.
        Err(_) => None,
    }
}

fn service(view: &View) -> Vec<Finding> {
    let name = format!("{}/{}", view.namespace, view.name);
    let mut findings = Vec::new();
    if view.condition(names::ACCEPTED).is_none() {
        let what = format!("no operator has looked at {name}");
        findings.push(finding(what, "does one lead, and watch this namespace?"));
    } else if !view.is_current {
        findings.push(finding(
            format!("{name}: the operator has not seen the newest change"),
            "if that stays, look at the operator's log",
        ));
    }
    let told = view.conditions.iter().filter_map(|condition| {
        let advice = advice(&condition.type_, condition.is_true, &condition.reason)?;
        Some(finding(format!("{name}: {}: {}", condition.reason, condition.message), advice))
    });
    findings.extend(told);
    for backend in view.backends.iter().filter(|backend| backend.kind.is_none()) {
        findings.push(finding(
            format!("{name} names the ModelBackend {:?}, which does not exist", backend.name),
            "make it in the same namespace, or take the name out of spec.backends",
        ));
    }
    let shadow = view.policy.as_ref().and_then(|policy| policy.shadow.as_ref());
    for Rejection { pod, reason } in shadow.into_iter().flat_map(|shadow| &shadow.rejected) {
        let what = format!("{name}: pod {pod} refuses the policy in shadow: {}", harmless(reason));
        findings.push(finding(what, "change what the message names, or set spec.policy.mode to Enforce"));
    }
    for pod in view.pods.iter().filter(|pod| pod.restarts > 2) {
        findings.push(finding(
            format!("{name}: pod {} was restarted {} times", pod.name, pod.restarts),
            format!("kubectl -n {} logs --previous {}", view.namespace, pod.name),
        ));
    }
    findings
}

/// What to do about a condition, if something is to be done.
fn advice(type_: &str, is_true: bool, reason: &str) -> Option<&'static str> {
    match (type_, is_true, reason) {
        (names::ACCEPTED, false, names::REASON_NOT_OWNED) => {
            Some("delete or rename the object that has the name, or give the resource another one")
        }
        (names::ACCEPTED, false, _) => {
            Some("change the field that the message begins with; what serves goes on")
        }
        (names::AVAILABLE, false, names::REASON_SCALED_TO_ZERO) => None,
        (names::AVAILABLE, false, _) => {
            Some("kubectl describe pods: image, resources, claims and quotas are the usual causes")
        }
        (names::POLICY_SYNCED, false, names::REASON_REJECTED) => Some(
            "the pod serves on with its old policy; mend what it names, or `kubectl crucible policy rollback`",
        ),
        (names::POLICY_SYNCED, false, names::REASON_UNREACHABLE) => Some(
            "the operator must reach port 9443 of the pods: look for a NetworkPolicy or a mesh in between",
        ),
        (names::CERTIFICATE_VALID, _, names::REASON_EXPIRED | names::REASON_EXPIRING) => Some(
            "with mode OperatorCA, does an operator lead? with CertManager, kubectl describe certificate; with Secret, renew it",
        ),
        (names::EXPOSED, false, names::REASON_API_NOT_SERVED) => {
            Some("install Gateway API 1.4 or newer, or take spec.network.route away")
        }
        (names::EXPOSED, false, _) => Some(
            "does the Gateway (or the IngressClass) exist, does a controller act on it, and does it let routes of this namespace in?",
        ),
        (names::STORE_CONNECTED, false, names::REASON_NOT_CONNECTED) => Some(
            "limits do what their onStoreFailure says; look at the Redis, its password and the ways that a NetworkPolicy leaves open",
        ),
        (names::PROGRESSING, true, names::REASON_AWAITING_CERTIFICATE) => {
            Some("does the issuer of spec.tls.issuerRef exist, and is it ready? may it sign these dnsNames?")
        }
        (names::PROGRESSING, false, names::REASON_ROLLED_BACK) => {
            Some("the pods of before are back; change the resource to roll forward")
        }
        (names::PROGRESSING, false, names::REASON_PROGRESS_DEADLINE_EXCEEDED) => Some(
            "kubectl describe pods; nothing was taken back, because nothing ran well before or that is not wanted",
        ),
        (names::PROGRESSING, false, names::REASON_PAUSED) => {
            Some("spec.maintenance.paused: false lets the operator write again")
        }
        _ => None,
    }
}

pub(super) fn render(findings: &[Finding], paint: Paint) -> String {
    if findings.is_empty() {
        return format!("{}\n", paint.good("nothing is wrong"));
    }
    let mut text = String::new();
    for Finding { what, advice } in findings {
        let _ = writeln!(text, "{} {what}\n  {advice}", paint.bad("✗"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use serde_json::{Value, json};

    fn found(conditions: &[(&str, &str, &str)]) -> Vec<String> {
        let mut resource = fixtures::resource(json!({}));
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|(type_, status, reason)| {
                json!({"type": type_, "status": status, "reason": reason, "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"})
            })
            .collect();
        let status = json!({"observedGeneration": 1, "conditions": conditions});
        resource.status = Some(serde_json::from_value(status).unwrap());
        let findings = service(&View::put_together(&resource, &[], Vec::new()));
        findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_service_that_is_well_or_sleeps_is_left_alone() {
        assert_eq!(
            found(&[("Accepted", "True", "Valid"), ("Available", "True", "MinimumReplicasAvailable")]),
            [""; 0]
        );
        assert_eq!(found(&[("Accepted", "True", "Valid"), ("Available", "False", "ScaledToZero")]), [""; 0]);
    }

    #[test]
    fn what_is_wrong_is_named_with_the_operators_words() {
        let found = found(&[
            ("Accepted", "True", "Valid"),
            ("PolicySynced", "False", "Rejected"),
            ("Progressing", "False", "RolledBack"),
        ]);
        assert_eq!(found, ["team/demo: Rejected: m", "team/demo: RolledBack: m"]);
    }

    #[test]
    fn what_is_refused_is_named_and_what_is_accepted_is_not() {
        let of = |status: &str| -> Option<String> {
            let conditions = json!([{"type": "Accepted", "status": status, "reason": "Invalid", "message": "spec.roles: no",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
            let conditions: Vec<Condition> = serde_json::from_value(conditions).unwrap();
            refused(&fixtures::resource(json!({})), Some(&conditions)).map(|finding| finding.what)
        };
        assert_eq!(of("False").as_deref(), Some("CodeCrucible team/demo: Invalid: spec.roles: no"));
        assert_eq!(of("True"), None);
    }

    #[test]
    fn a_service_that_no_operator_saw_is_told() {
        assert_eq!(found(&[]).len(), 1);
    }
}
