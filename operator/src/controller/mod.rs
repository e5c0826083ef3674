//! What wakes a reconcile, and what happens when one fails.
//!
//! The only objects kept in memory are those of our own kinds. Everything else is watched by its metadata and
//! not stored; a reconcile reads what it needs.

mod backoff;
mod concerns;

use crate::reconcile::{Context, ReconcileError, reconcile};
use crate::telemetry::Metrics;
use backoff::wait_after;
use codecrucible_crds::{CodeCrucible, ModelBackend, names};
use futures::{Stream, StreamExt as _, future};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::controller::{self, Action, Config as ControllerConfig, Controller};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

/// Objects of one page of a list.
const PAGE_OBJECTS: u32 = 50;

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
    let (backends, backends_writer) = reflector::store();
    let controller = Controller::for_stream(kept(&client, writer), resources.clone())
        .with_config(ControllerConfig::default().concurrency(concurrency));
    let of_backend = {
        let resources = resources.clone();
        move |backend: ModelBackend| concerns::of_backend(&backend.metadata, &resources.state())
    };
    let of_secret = move |secret: PartialObjectMeta<Secret>| {
        concerns::of_secret(&secret.metadata, &backends.state(), || resources.state())
    };
    controller
        .watches_stream(children::<ServiceAccount>(&client), |child| concerns::of_child(&child.metadata))
        .watches_stream(children::<ConfigMap>(&client), |child| concerns::of_child(&child.metadata))
        .watches_stream(children::<Service>(&client), |child| concerns::of_child(&child.metadata))
        .watches_stream(children::<NetworkPolicy>(&client), |child| concerns::of_child(&child.metadata))
        .watches_stream(children::<PodDisruptionBudget>(&client), |child| concerns::of_child(&child.metadata))
        .watches_stream(children::<Deployment>(&client), |child| concerns::of_child(&child.metadata))
        .watches_stream(children::<Pod>(&client), |pod| concerns::of_child(&pod.metadata))
        .watches_stream(kept(&client, backends_writer), of_backend)
        .watches_stream(secrets(&client), of_secret)
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

/// How lists are read: a page is in memory as a whole, and with it what it was parsed from.
fn listing() -> watcher::Config {
    watcher::Config::default().page_size(PAGE_OBJECTS)
}

/// Metadata of the objects that the operator made.
fn children<K>(
    client: &Client,
) -> impl Stream<Item = Result<PartialObjectMeta<K>, watcher::Error>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + Debug + Send + Sync + 'static,
{
    let label = format!("{}={}", names::LABEL_MANAGED_BY, names::MANAGED_BY);
    let config = listing().labels(&label);
    watcher(Api::<PartialObjectMeta<K>>::all(client.clone()), config).default_backoff().touched_objects()
}

/// Metadata of all Secrets: those that people make carry no label of ours.
fn secrets(
    client: &Client,
) -> impl Stream<Item = Result<PartialObjectMeta<Secret>, watcher::Error>> + Send + use<> {
    let secrets = Api::<PartialObjectMeta<Secret>>::all(client.clone());
    watcher(secrets, listing()).default_backoff().touched_objects()
}

/// All objects of a kind of ours, kept in memory. Who set which field is a third of an object, and of no use
/// here.
fn kept<K>(
    client: &Client,
    writer: Writer<K>,
) -> impl Stream<Item = Result<K, watcher::Error>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + Debug + Send + Sync + 'static,
{
    watcher(Api::<K>::all(client.clone()), listing())
        .default_backoff()
        .modify(|object| {
            object.managed_fields_mut().clear();
            object.annotations_mut().clear();
        })
        .reflect(writer)
        .touched_objects()
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
