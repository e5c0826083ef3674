//! A service as a tree: the resource, its pods with the policy that each runs, its backends.

use super::paint::{Paint, harmless};
use super::view::{BackendView, ConditionView, PodView, View};
use super::{Output, say};
use anyhow::Context as _;
use codecrucible_crds::{
    AccessEnforcement, CanaryStatus, CodeCrucible, PolicyStatus, Rejection, ShadowStatus, conditions,
};
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, ResourceExt as _};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::pin::pin;

pub(super) async fn show(
    client: &Client,
    namespace: &str,
    name: Option<&str>,
    output: Output,
    paint: Paint,
) -> anyhow::Result<String> {
    let api: Api<CodeCrucible> = Api::namespaced(client.clone(), namespace);
    let resources = match name {
        Some(name) => vec![api.get(name).await?],
        None => api.list(&kube::api::ListParams::default()).await?.items,
    };
    let mut views = Vec::new();
    for resource in &resources {
        views.push(View::of(client, resource).await?);
    }
    match output {
        Output::Json => Ok(serde_json::to_string_pretty(&views)? + "\n"),
        Output::Tree if views.is_empty() => Ok(format!("There is no CodeCrucible in {namespace}.\n")),
        Output::Tree => Ok(views.iter().map(|view| tree(view, paint)).collect()),
    }
}

/// The tree, and then a line for each change of what the services are.
pub(super) async fn watch(
    client: &Client,
    namespace: &str,
    name: Option<&str>,
    paint: Paint,
) -> anyhow::Result<()> {
    say(&show(client, namespace, name, Output::Tree, paint).await?)?;
    let api: Api<CodeCrucible> = Api::namespaced(client.clone(), namespace);
    let config = match name {
        Some(name) => watcher::Config::default().fields(&format!("metadata.name={name}")),
        None => watcher::Config::default(),
    };
    let mut changes = pin!(watcher(api, config).default_backoff().applied_objects().into_stream().boxed());
    let mut last: HashMap<String, String> = HashMap::new();
    while let Some(resource) = changes.try_next().await.context("the watch ended")? {
        let line = line(&resource, paint);
        if last.insert(resource.name_any(), line.clone()).as_ref() != Some(&line) {
            say(&format!("{:.3} {line}\n", Timestamp::now()))?;
        }
    }
    Ok(())
}

fn line(resource: &CodeCrucible, paint: Paint) -> String {
    let view = View::put_together(resource, &[], Vec::new());
    let mut line = paint.strong(&view.name);
    if let Some(policy) = &view.policy {
        let (applied, refused) = (policy.applied_replicas, policy.rejected.len());
        let _ = write!(line, " policy {}: {applied} of {} replicas", policy.revision, policy.replicas.len());
        if refused > 0 {
            let _ = write!(line, ", {}", paint.bad(&format!("{refused} refuse it")));
        }
    }
    for type_ in [conditions::READY, conditions::POLICY_SYNCED, conditions::PROGRESSING] {
        if let Some(condition) = view.condition(type_) {
            let _ = write!(line, " · {}", short(condition, paint));
        }
    }
    line
}

fn short(condition: &ConditionView, paint: Paint) -> String {
    let text = format!("{}={} ({})", condition.type_, condition.is_true, condition.reason);
    paint_of(condition, paint)(&text)
}

/// What is good when it is true, and what is good when it is false.
fn paint_of(condition: &ConditionView, paint: Paint) -> impl Fn(&str) -> String {
    let is_passing = [conditions::PROGRESSING, conditions::RECONCILING].contains(&&*condition.type_);
    let is_good = match condition.type_.as_str() {
        conditions::STALLED => !condition.is_true,
        _ => condition.is_true,
    };
    move |text: &str| match (is_passing, is_good) {
        (true, true) => paint.passing(text),
        (true, false) => text.to_owned(),
        (false, true) => paint.good(text),
        (false, false) => paint.bad(text),
    }
}

fn tree(view: &View, paint: Paint) -> String {
    let mut text = format!("{}/{}", view.namespace, paint.strong(&view.name));
    if let Some(endpoint) = &view.endpoint {
        let _ = write!(text, "  {endpoint}");
    }
    if !view.is_current {
        let _ = write!(text, "  {}", paint.passing("(the operator has not seen the newest change yet)"));
    }
    text.push('\n');
    for condition in &view.conditions {
        let told = if condition.message.is_empty() { &condition.reason } else { &condition.message };
        let name = format!("{:<13}", condition.type_);
        let state = if condition.is_true { "yes" } else { "no " };
        let _ = writeln!(text, "├─ {name} {} {told}", paint_of(condition, paint)(state));
    }
    if let Some(rollout) = &view.rollout {
        let good = rollout.last_good.as_deref().unwrap_or("none yet");
        let _ =
            writeln!(text, "├─ pods made from {}, last good {good}: {:?}", rollout.revision, rollout.phase);
        if let Some(canary) = &rollout.canary {
            let CanaryStatus {
                revision,
                step,
                steps,
                replicas,
                ready_replicas,
                requests,
                failed_requests,
                ..
            } = canary;
            let pods = format!("{ready_replicas} of {replicas} pods made from {revision}");
            let _ = writeln!(
                text,
                "├─ canary at step {step} of {steps}: {pods} are ready, {failed_requests} of {requests} requests failed"
            );
        }
    }
    if let Some(policy) = &view.policy {
        let _ = writeln!(text, "├─ access {}", access(policy));
        policy.shadow.iter().for_each(|shadow| text.push_str(&compared(shadow, paint)));
    }
    if let Some(clients) = &view.clients {
        let all = clients.applied_replicas + clients.pending_replicas;
        let known = format!("{} known to {} of {all} replicas", clients.registered, clients.applied_replicas);
        let said = if clients.pending_replicas > 0 { paint.passing(&known) } else { known };
        let _ = writeln!(text, "├─ clients of applications: {said}");
    }
    for pod in &view.pods {
        let _ = writeln!(text, "├─ pod {}", pod_line(pod, view.policy.as_ref(), paint));
    }
    for (index, backend) in view.backends.iter().enumerate() {
        let branch = if index + 1 == view.backends.len() { "└─" } else { "├─" };
        let _ = writeln!(text, "{branch} backend {}", backend_line(backend, paint));
    }
    text
}

/// What replicas said of a policy that they only compare.
fn compared(shadow: &ShadowStatus, paint: Paint) -> String {
    let ShadowStatus { revision, applied_replicas, compared_replicas, differing_replicas, rejected, .. } =
        shadow;
    let differ = format!("{compared_replicas} compared a request, {differing_replicas} saw it differ");
    let differ = if *differing_replicas > 0 { paint.passing(&differ) } else { differ };
    let revision = harmless(revision);
    let mut text = format!("├─ in shadow policy {revision}: {applied_replicas} replicas have it, {differ}\n");
    for Rejection { pod, reason } in rejected {
        let refusal = harmless(&format!("pod {pod} refuses it: {reason}"));
        let _ = writeln!(text, "│  {}", paint.bad(&refusal));
    }
    text
}

fn access(policy: &PolicyStatus) -> String {
    let told = policy.access.iter().map(|access| match access.enforcement {
        AccessEnforcement::Enforce => access.name.clone(),
        AccessEnforcement::Shadow => format!("{} (in shadow)", access.name),
    });
    let told = told.collect::<Vec<_>>().join(", ");
    let is_ruled = policy.access.iter().any(|access| access.enforcement == AccessEnforcement::Enforce);
    match (is_ruled, told.is_empty()) {
        (true, _) => told,
        (false, true) => "whoever has a token may do everything".into(),
        (false, false) => format!("whoever has a token may do everything; {told}"),
    }
}

fn pod_line(pod: &PodView, policy: Option<&PolicyStatus>, paint: Paint) -> String {
    let ready = if pod.is_ready { paint.good("ready") } else { paint.bad("not ready") };
    let runs = match (&pod.policy, policy) {
        (Some(runs), Some(policy)) if *runs == policy.revision => format!("runs policy {runs}"),
        (Some(runs), _) => paint.passing(&format!("still runs policy {runs}")),
        (None, _) => paint.passing("has not told what it runs"),
    };
    let mut line = format!("{}: {ready}, {runs}", pod.name);
    if pod.restarts > 0 {
        let _ = write!(line, ", restarted {} times", pod.restarts);
    }
    if let Some(reason) = &pod.refuses {
        let _ = write!(line, "; {}", paint.bad(&format!("refuses the newest: {reason}")));
    }
    line
}

fn backend_line(backend: &BackendView, paint: Paint) -> String {
    match &backend.kind {
        Some(kind) => format!("{}: {kind}, models {}", backend.name, backend.models.join(", ")),
        None => format!("{}: {}", backend.name, paint.bad("there is no such ModelBackend")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use serde_json::{Value, json};

    fn shown(status: Value, pods: &Value) -> String {
        let mut resource = fixtures::resource(json!({}));
        resource.status = Some(serde_json::from_value(status).unwrap());
        let pods: Vec<_> = serde_json::from_value(pods.clone()).unwrap();
        let backend = BackendView { name: "remote".into(), kind: None, models: Vec::new() };
        tree(&View::put_together(&resource, &pods, vec![backend]), Paint::new(false))
    }

    #[test]
    fn each_pod_stands_with_what_it_said() {
        let policy = json!({"revision": "2-x", "hash": "h", "appliedReplicas": 1,
            "replicas": [{"pod": "a", "revision": "2-x"}, {"pod": "b", "revision": "1-x"}],
            "rejected": [{"pod": "b", "reason": "no such model"}], "access": [{"name": "team", "hash": "h"}, {"name": "stop", "hash": "h", "enforcement": "Shadow"}]});
        let clients = json!({"registered": 4, "hash": "h", "appliedReplicas": 1, "pendingReplicas": 1});
        let condition = json!({"type": "Ready", "status": "True", "reason": "R", "message": "2 of 3", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        let pods = json!([{"metadata": {"name": "a"}, "status": ready}, {"metadata": {"name": "b"}}, {"metadata": {"name": "c"}}]);
        let shown = shown(json!({"conditions": [condition], "policy": policy, "clients": clients}), &pods);
        for line in [
            "team/demo  (the operator has not seen the newest change yet)",
            "├─ Ready         yes 2 of 3",
            "├─ access team, stop (in shadow)",
            "├─ clients of applications: 4 known to 1 of 2 replicas",
            "├─ pod a: ready, runs policy 2-x",
            "├─ pod b: not ready, still runs policy 1-x; refuses the newest: no such model",
            "├─ pod c: not ready, has not told what it runs",
            "└─ backend remote: there is no such ModelBackend",
        ] {
            assert!(shown.contains(&format!("{line}\n")), "{line}\n{shown}");
        }
    }

    #[test]
    fn colours_are_only_for_those_who_see_them() {
        let condition = ConditionView {
            type_: "Stalled".into(),
            is_true: true,
            reason: "R".into(),
            message: String::new(),
        };
        assert_eq!(short(&condition, Paint::new(false)), "Stalled=true (R)");
        assert_eq!(short(&condition, Paint::new(true)), "\u{1b}[31mStalled=true (R)\u{1b}[0m");
    }
}
