//! Step four: all writes except `status`.

use super::Context;
use super::child::Child;
use super::desired::{Prepared, Publication, certificates_alone, clients_alone};
use super::history::{self, Kept};
use super::observe::Observed;
use super::outcome::Outcome;
use super::plan::{Plan, Removal};
use super::remediation::Eviction;
use super::surplus::surplus;
use super::tls::Certificates;
use super::validate::withdrawn;
use crate::conventions::events::warning;
use crate::conventions::is_absent;
use codecrucible_crds::{CodeCrucible, conditions, names};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::api::{DeleteParams, DynamicObject, EvictParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::events::Event;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The kind of what is kept of a service's past.
const HISTORY_KIND: &str = "ControllerRevision";

/// What the API server answers to an object that it does not take as it is.
const UNPROCESSABLE: u16 = 422;

/// What exists now.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) publication: Publication,
    /// The deployment as the API server gave it back.
    pub(crate) deployment: Option<DynamicObject>,
    /// What was made or changed only now.
    pub(crate) written: BTreeSet<Child>,
    /// What stood in the way of a way from outside.
    pub(crate) barred: Option<ApplyError>,
}

/// Which write failed.
#[derive(Debug, thiserror::Error)]
#[error("{kind} {name}: {error}")]
pub(crate) struct ApplyError {
    kind: &'static str,
    name: String,
    #[source]
    error: Box<kube::Error>,
}

impl ApplyError {
    pub(crate) fn new(kind: &'static str, name: impl Into<String>, error: kube::Error) -> Self {
        Self { kind, name: name.into(), error: Box::new(error) }
    }

    /// Whether the object itself is refused, as it will be again until somebody changes the resource, or what judges it.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(&*self.error, kube::Error::Api(status) if status.code == UNPROCESSABLE)
    }
}

/// Writes what a plan changes, in the order of making, and touches pods that mount something older.
#[tracing::instrument(skip_all)]
pub(crate) async fn apply(
    context: &Context,
    resource: &CodeCrucible,
    observed: &Observed,
    plan: Plan,
) -> Outcome {
    match try_apply(context, resource, observed, plan).await {
        Ok(applied) => Outcome::Applied(Box::new(applied)),
        Err(error) => Outcome::Failed(error),
    }
}

async fn try_apply(
    context: &Context,
    resource: &CodeCrucible,
    observed: &Observed,
    plan: Plan,
) -> Result<Applied, ApplyError> {
    let Plan { removals, handover, changes, chronicle, outdated_pods, eviction, publication } = plan;
    let mut deployment = observed.children.get(&Child::Deployment).cloned();
    let mut written = BTreeSet::new();
    let is_way = |child: &Child| Child::WAYS.contains(child);
    let (unled, removals): (Vec<_>, Vec<_>) =
        removals.into_iter().partition(|removal| is_way(&removal.child));
    let (ways, changes): (Vec<_>, Vec<_>) = changes.into_iter().partition(|prepared| is_way(&prepared.child));
    for removal in removals {
        remove(context, resource, removal).await?;
    }
    if let Some((replicas, deployment)) = handover.zip(deployment.as_ref()) {
        hand_over(context, resource, replicas, deployment).await?;
    }
    record(context, resource, chronicle.record).await?;
    let (mounted, rest): (Vec<_>, Vec<_>) =
        changes.into_iter().partition(|prepared| prepared.child < Child::Deployment);
    for prepared in mounted {
        note(context, resource, observed, prepared, &mut written).await?;
    }
    // As soon as what they mount is written: a deployment that is refused must not keep a revocation from them.
    touch_pods(context, resource, outdated_pods, &publication.configuration).await?;
    for prepared in rest {
        let child = prepared.child;
        let object = note(context, resource, observed, prepared, &mut written).await?;
        if child == Child::Deployment {
            deployment = Some(object);
        }
    }
    forget(context, resource, chronicle.forget).await?;
    if let Some(eviction) = eviction {
        evict(context, resource, eviction).await?;
    }
    let barred = lead(context, resource, observed, (unled, ways), &mut written).await.err();
    Ok(Applied { publication, deployment, written, barred })
}

/// What leads to the service from outside, last of all: it is there without. What is taken away goes whatever is refused, and a route
/// before what gateways trust on it; a route is only made when they know whom to trust.
async fn lead(
    context: &Context,
    resource: &CodeCrucible,
    observed: &Observed,
    (removals, changes): (Vec<Removal>, Vec<Prepared>),
    written: &mut BTreeSet<Child>,
) -> Result<(), ApplyError> {
    let (mut barred, mut is_trusted) = (Ok(()), true);
    for removal in removals.into_iter().rev() {
        barred = barred.and(remove(context, resource, removal).await);
    }
    for prepared in changes {
        let child = prepared.child;
        if child == Child::Route && !is_trusted {
            continue;
        }
        let made = note(context, resource, observed, prepared, written).await;
        is_trusted &= made.is_ok() || child == Child::Ingress;
        barred = barred.and(made.map(drop));
    }
    barred
}

/// Writes a child, and notes it if that did anything.
async fn note(
    context: &Context,
    resource: &CodeCrucible,
    observed: &Observed,
    prepared: Prepared,
    written: &mut BTreeSet<Child>,
) -> Result<DynamicObject, ApplyError> {
    let (child, live) = (prepared.child, observed.children.get(&prepared.child));
    let object = write(context, resource, prepared, live).await?;
    written.extend(is_changed(live, &object).then_some(child));
    Ok(object)
}

/// Whether a write did anything: the API server gives back the object as it was where it did not.
fn is_changed(live: Option<&DynamicObject>, written: &DynamicObject) -> bool {
    live.is_none_or(|live| live.metadata.resource_version != written.metadata.resource_version)
}

/// Renews certificates that are due, of a service of which nothing else is written: it serves on, and so must they.
pub(crate) async fn renew(
    context: &Context,
    resource: &CodeCrucible,
    observed: &Observed,
    certificates: &Certificates,
) -> Result<(), ApplyError> {
    for prepared in certificates_alone(resource, certificates) {
        let live = observed.children.get(&prepared.child);
        write(context, resource, prepared, live).await?;
    }
    Ok(())
}

/// Takes clients off the list that are no longer let in, of a service of which nothing else is written.
pub(crate) async fn withdraw(
    context: &Context,
    resource: &CodeCrucible,
    observed: &Observed,
) -> Result<(), ApplyError> {
    let Some(clients) = withdrawn(resource, observed) else { return Ok(()) };
    let (prepared, configuration) = clients_alone(resource, &clients);
    write(context, resource, prepared, observed.children.get(&Child::RegisteredClients)).await?;
    let pods = observed.pods.iter().map(|pod| pod.name_any()).collect();
    touch_pods(context, resource, pods, &configuration).await
}

async fn write(
    context: &Context,
    resource: &CodeCrucible,
    prepared: Prepared,
    live: Option<&DynamicObject>,
) -> Result<DynamicObject, ApplyError> {
    let Prepared { child, name, object } = prepared;
    let api = child_api(context, resource, child);
    let written = match live {
        Some(live) => replace(&api, child, &name, object, live).await,
        None if child.is_generated() => create(&api, object).await,
        // Without force: what somebody else put there since we looked is a conflict, not ours to take.
        None => api.patch(&name, &PatchParams::apply(names::FIELD_MANAGER), &Patch::Apply(&object)).await,
    };
    context.metrics.writes.with_label_values(&[child.kind()]).inc();
    written.map_err(|error| ApplyError::new(child.kind(), name, error))
}

/// Applies over the object that was looked at, and over no other of its name.
async fn replace(
    api: &Api<DynamicObject>,
    child: Child,
    name: &str,
    mut object: Value,
    live: &DynamicObject,
) -> kube::Result<DynamicObject> {
    if let Some(mut patch) = surplus(child, &live.data, &object) {
        patch["metadata"] = json!({"uid": live.metadata.uid});
        api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    }
    object["metadata"]["uid"] = json!(live.metadata.uid);
    api.patch(name, &PatchParams::apply(names::FIELD_MANAGER).force(), &Patch::Apply(&object)).await
}

/// Created, not applied: should the object have come into being since we looked, the key in it stays.
async fn create(api: &Api<DynamicObject>, object: Value) -> kube::Result<DynamicObject> {
    let parameters =
        PostParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let object = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
    api.create(&parameters, &object).await
}

/// Deletes what is no longer wanted, and nothing that has taken its name since it was looked at.
async fn remove(context: &Context, resource: &CodeCrucible, removal: Removal) -> Result<(), ApplyError> {
    let Removal { child, name, uid, version } = removal;
    let api = child_api(context, resource, child);
    let deleted = delete(&api, &name, Preconditions { uid, resource_version: version }).await;
    context.metrics.writes.with_label_values(&[child.kind()]).inc();
    deleted.map_err(|error| ApplyError::new(child.kind(), name, error))
}

async fn delete(api: &Api<DynamicObject>, name: &str, preconditions: Preconditions) -> kube::Result<()> {
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match api.delete(name, &parameters).await {
        // It went in the meantime.
        Err(error) if is_absent(&error) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}

/// Sets the replicas to what they are under another name, so that they stay when the operator leaves them out.
async fn hand_over(
    context: &Context,
    resource: &CodeCrucible,
    replicas: i32,
    deployment: &DynamicObject,
) -> Result<(), ApplyError> {
    let (child, name) = (Child::Deployment, deployment.name_any());
    let api = child_api(context, resource, child);
    let types = child.api_resource();
    // Should somebody have scaled it since, what was looked at counts no more.
    let version = &deployment.metadata.resource_version;
    let metadata = json!({"name": name, "uid": deployment.metadata.uid, "resourceVersion": version});
    let patch = json!({"apiVersion": types.api_version, "kind": types.kind, "metadata": metadata, "spec": {"replicas": replicas}});
    let parameters = PatchParams::apply(names::HANDOVER_FIELD_MANAGER).force();
    let handed_over = api.patch(&name, &parameters, &Patch::Apply(&patch)).await;
    context.metrics.writes.with_label_values(&[child.kind()]).inc();
    handed_over.map_err(|error| ApplyError::new(child.kind(), name, error))?;
    Ok(())
}

fn child_api(context: &Context, resource: &CodeCrucible, child: Child) -> Api<DynamicObject> {
    let namespace = resource.namespace().unwrap_or_default();
    Api::namespaced_with(context.client.clone(), &namespace, &child.api_resource())
}

/// Keeps what is about to be applied.
async fn record(context: &Context, resource: &CodeCrucible, records: Vec<Value>) -> Result<(), ApplyError> {
    let api = history_api(context, resource);
    for object in records {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        context.metrics.writes.with_label_values(&[HISTORY_KIND]).inc();
        let data = object["data"].clone();
        match create(&api, object).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                // Its labels may be gone; what it keeps nobody can change.
                let kept = api.get(&name).await.map_err(|error| failed_to_keep(name.clone(), error))?;
                if kept.data.get("data") != Some(&data) {
                    return Err(failed_to_keep(name, kube::Error::Api(status)));
                }
            }
            Err(error) => return Err(failed_to_keep(name, error)),
        }
    }
    Ok(())
}

/// Deletes what was looked at, and nothing that has taken its name since.
async fn forget(context: &Context, resource: &CodeCrucible, kept: Vec<Kept>) -> Result<(), ApplyError> {
    let api = history_api(context, resource);
    for Kept { name, uid, version, .. } in kept {
        let preconditions = Preconditions { uid: Some(uid), resource_version: Some(version) };
        context.metrics.writes.with_label_values(&[HISTORY_KIND]).inc();
        delete(&api, &name, preconditions).await.map_err(|error| failed_to_keep(name, error))?;
    }
    Ok(())
}

fn history_api(context: &Context, resource: &CodeCrucible) -> Api<DynamicObject> {
    let namespace = resource.namespace().unwrap_or_default();
    Api::namespaced_with(context.client.clone(), &namespace, &history::api_resource())
}

fn failed_to_keep(name: String, error: kube::Error) -> ApplyError {
    ApplyError::new(HISTORY_KIND, name, error)
}

/// Has the API server remove a replica, if the disruption budget lets it, and only the one that was looked at.
async fn evict(context: &Context, resource: &CodeCrucible, eviction: Eviction) -> Result<(), ApplyError> {
    let Eviction { pod, uid, because, is_held_back } = eviction;
    let claim = if is_held_back { None } else { context.guard.claim(resource, Timestamp::now()) };
    let Some(claim) = claim else {
        context.reporter.tell(resource, &held_back(&pod, &because)).await;
        return Ok(());
    };
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &resource.namespace().unwrap_or_default());
    let preconditions = Some(Preconditions { uid: Some(uid), resource_version: None });
    let parameters = EvictParams {
        delete_options: Some(DeleteParams { preconditions, ..DeleteParams::default() }),
        ..EvictParams::default()
    };
    context.metrics.writes.with_label_values(&["Eviction"]).inc();
    match api.evict(&pod, &parameters).await {
        Ok(_) => {
            context.metrics.evictions.inc();
            context.reporter.tell(resource, &evicted(&pod, &because)).await;
            Ok(())
        }
        // It went in the meantime, another one took its name, or a budget does not let it go now: 500 is what two budgets
        // for one pod come to.
        Err(kube::Error::Api(status)) if [404, 409, 429, 500].contains(&status.code) => {
            context.guard.give_back(claim, Timestamp::now());
            tracing::info!(pod, code = status.code, "a replica was not evicted");
            Ok(())
        }
        Err(error) => Err(ApplyError::new("Eviction", pod, error)),
    }
}

fn evicted(pod: &str, because: &str) -> Event {
    concerning(
        pod,
        warning(conditions::REASON_REPLICA_EVICTED, &format!("pod {pod} was evicted: it {because}")),
    )
}

fn held_back(pod: &str, because: &str) -> Event {
    let note =
        format!("the operator has acted on too many services lately: pod {pod} stays, although it {because}");
    concerning(pod, warning(conditions::REASON_FUSE_BLOWN, &note))
}

/// What is told of one pod and of another one are two Events.
fn concerning(pod: &str, event: Event) -> Event {
    let pod = ObjectReference { kind: Some("Pod".into()), name: Some(pod.to_owned()), ..Default::default() };
    Event { secondary: Some(pod), ..event }
}

/// A changed annotation makes the kubelet refresh what a pod mounts at once, instead of within 90 seconds.
async fn touch_pods(
    context: &Context,
    resource: &CodeCrucible,
    outdated: Vec<String>,
    configuration: &str,
) -> Result<(), ApplyError> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &resource.namespace().unwrap_or_default());
    let patch = json!({"metadata": {"annotations": {names::ANNOTATION_CONFIGURATION: configuration}}});
    for name in outdated {
        let touched = api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        context.metrics.writes.with_label_values(&["Pod"]).inc();
        match touched {
            // It went in the meantime.
            Err(error) if is_absent(&error) => {}
            Err(error) => {
                return Err(ApplyError::new("Pod", name, error));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}
