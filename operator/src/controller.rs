//! What wakes a reconcile, and what happens when one fails.
//!
//! The only objects kept in memory are the `CodeCrucible`s themselves. Everything else is watched by its
//! metadata and not stored; a reconcile reads what it needs.

use crate::backoff::wait_after;
use crate::reconcile::{Context, ReconcileError, reconcile};
use crate::telemetry::Metrics;
use codecrucible_crds::{CodeCrucible, ModelBackend, names};
use futures::{Stream, StreamExt as _, future};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::controller::{self, Action, Config as ControllerConfig, Controller};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

/// What every reconcile shares.
struct Shared {
    context: Context,
    metrics: Arc<Metrics>,
    resources: Store<CodeCrucible>,
    /// Failures in a row of the resources that have some.
    failures: Mutex<HashMap<ObjectRef<CodeCrucible>, u32>>,
}

/// Runs the controller for as long as its watches live.
pub(crate) async fn run(client: Client, metrics: Arc<Metrics>, concurrency: u16) -> anyhow::Result<()> {
    let (resources, writer) = reflector::store();
    let shared = Arc::new(Shared {
        context: Context::new(client.clone(), metrics.clone()),
        metrics,
        resources: resources.clone(),
        failures: Mutex::default(),
    });
    let changes = watcher(Api::<CodeCrucible>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        // Who set which field is a third of an object, and of no use here.
        .modify(|resource| resource.managed_fields_mut().clear())
        .reflect(writer)
        .touched_objects();
    let controller = Controller::for_stream(changes, resources.clone())
        .with_config(ControllerConfig::default().concurrency(concurrency));
    controller
        .owns_stream(children::<ServiceAccount>(&client))
        .owns_stream(children::<ConfigMap>(&client))
        .owns_stream(children::<Service>(&client))
        .owns_stream(children::<NetworkPolicy>(&client))
        .owns_stream(children::<PodDisruptionBudget>(&client))
        .owns_stream(children::<Deployment>(&client))
        .watches_stream(children::<Pod>(&client), instance)
        .watches_stream(all_metadata::<Secret>(&client), same_namespace(resources.clone()))
        .watches_stream(all_metadata::<ModelBackend>(&client), same_namespace(resources))
        .run(reconcile_one, retry_later, shared)
        .for_each(|ended| {
            if let Err(error) = ended {
                tell_of_trouble(&error);
            }
            future::ready(())
        })
        .await;
    anyhow::bail!("the watches ended")
}

/// Metadata of the objects that the operator made.
fn children<K>(
    client: &Client,
) -> impl Stream<Item = Result<PartialObjectMeta<K>, watcher::Error>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + Debug + Send + Sync + 'static,
{
    let label = format!("{}={}", names::LABEL_MANAGED_BY, names::MANAGED_BY);
    let config = watcher::Config::default().labels(&label);
    watcher(Api::<PartialObjectMeta<K>>::all(client.clone()), config).default_backoff().touched_objects()
}

/// Metadata of all objects of a kind: those that people make carry no label of ours.
fn all_metadata<K>(
    client: &Client,
) -> impl Stream<Item = Result<PartialObjectMeta<K>, watcher::Error>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + Debug + Send + Sync + 'static,
{
    let config = watcher::Config::default();
    watcher(Api::<PartialObjectMeta<K>>::all(client.clone()), config).default_backoff().touched_objects()
}

/// The resource that a pod serves; between them stand a Deployment and a ReplicaSet.
fn instance(pod: PartialObjectMeta<Pod>) -> Option<ObjectRef<CodeCrucible>> {
    let name = pod.metadata.labels?.remove(names::LABEL_INSTANCE)?;
    Some(ObjectRef::new(&name).within(&pod.metadata.namespace?))
}

/// The resources that an object of their namespace may concern: which of them refer to it is for the
/// reconcile to find out, which costs reads only.
fn same_namespace<K>(
    resources: Store<CodeCrucible>,
) -> impl Fn(PartialObjectMeta<K>) -> Vec<ObjectRef<CodeCrucible>> + Send + Sync + 'static {
    move |object| {
        let concerned = resources
            .state()
            .into_iter()
            .filter(|resource| resource.namespace() == object.metadata.namespace);
        concerned.map(|resource| ObjectRef::from_obj(&*resource)).collect()
    }
}

/// Failed reconciles are told where they are counted; what else goes wrong is a watch that does not work.
fn tell_of_trouble(error: &controller::Error<ReconcileError, watcher::Error>) {
    match error {
        controller::Error::ReconcilerFailed(..) | controller::Error::ObjectNotFound(_) => {}
        other => tracing::warn!(error = %other, "a watch does not work"),
    }
}

async fn reconcile_one(resource: Arc<CodeCrucible>, shared: Arc<Shared>) -> Result<Action, ReconcileError> {
    if resource.metadata.deletion_timestamp.is_some() {
        // Children go by garbage collection.
        return Ok(Action::await_change());
    }
    let timer = shared.metrics.reconcile_seconds.start_timer();
    let outcome = reconcile(&shared.context, &resource).await;
    timer.observe_duration();
    let label = outcome.as_ref().err().map_or("success", ReconcileError::reason);
    shared.metrics.reconciles.with_label_values(&[label]).inc();
    let look_again = outcome?;
    shared.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&ObjectRef::from_obj(&*resource));
    Ok(Action::requeue(look_again))
}

fn retry_later(resource: Arc<CodeCrucible>, error: &ReconcileError, shared: Arc<Shared>) -> Action {
    let mut failures = shared.failures.lock().unwrap_or_else(PoisonError::into_inner);
    // Of what was deleted while it failed, nobody tells any more.
    failures.retain(|failed, _| shared.resources.get(failed).is_some());
    let count = failures.entry(ObjectRef::from_obj(&*resource)).or_default();
    *count = count.saturating_add(1);
    let mut jitter = [0_u8];
    // Without randomness the wait is merely the same for all.
    let _ = aws_lc_rs::rand::fill(&mut jitter);
    let wait = wait_after(*count, jitter[0]);
    let (name, namespace) = (resource.name_any(), resource.namespace().unwrap_or_default());
    tracing::warn!(name, namespace, %error, failures = *count, wait_ms = wait.as_millis(), "reconcile failed");
    Action::requeue(wait)
}
