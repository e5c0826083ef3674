//! What wakes a reconcile, and what happens when one fails.
//!
//! Of our resources the metadata is kept in memory, and the few backends. Everything else is watched by its
//! metadata and not stored; a reconcile reads what it needs.

mod backoff;
mod concerns;
mod uses;

use crate::reconcile::{Context, ReconcileError, reconcile};
use crate::telemetry::Metrics;
use backoff::wait_after;
use codecrucible_crds::{CodeCrucible, ModelBackend, names};
use concerns::Reference;
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
use uses::Uses;

/// Objects of one page of a list.
const PAGE_OBJECTS: u32 = 20;

/// What is kept of a resource.
type Known = PartialObjectMeta<CodeCrucible>;

/// What every reconcile shares.
struct Shared {
    context: Context,
    metrics: Arc<Metrics>,
    resources: Store<Known>,
    uses: Arc<Uses>,
    /// Failures in a row of the resources that have some.
    failures: Mutex<HashMap<Reference, u32>>,
}

/// Runs the controller for as long as its watches live.
pub(crate) async fn run(client: Client, metrics: Arc<Metrics>, concurrency: u16) -> anyhow::Result<()> {
    let (resources, writer) = reflector::store();
    let uses = Arc::new(Uses::default());
    let shared = Arc::new(Shared {
        context: Context::new(client.clone(), metrics.clone()),
        metrics,
        resources: resources.clone(),
        uses: Arc::clone(&uses),
        failures: Mutex::default(),
    });
    let (backends, backends_writer) = reflector::store();
    let controller = Controller::for_stream(kept(&client, writer), resources)
        .with_config(ControllerConfig::default().concurrency(concurrency));
    let of_backend = {
        let uses = Arc::clone(&uses);
        move |backend: ModelBackend| uses.of(&backend.metadata)
    };
    let of_secret = move |secret: PartialObjectMeta<Secret>| {
        concerns::of_secret(&secret.metadata, &backends.state(), &uses)
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

/// All objects of a kind of ours, kept in memory: without who set which field, and without what tools note.
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

async fn reconcile_one(known: Arc<Known>, shared: Arc<Shared>) -> Result<Action, ReconcileError> {
    let timer = shared.metrics.reconcile_seconds.start_timer();
    let outcome = reconcile(&shared.context, &known, |resource| {
        shared.uses.note(resource, |used| shared.resources.get(used).is_some());
    })
    .await;
    timer.observe_duration();
    let label = outcome.as_ref().err().map_or("success", ReconcileError::reason);
    shared.metrics.reconciles.with_label_values(&[label]).inc();
    let look_again = outcome?;
    shared.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&ObjectRef::from_obj(&*known));
    Ok(look_again.map_or_else(Action::await_change, Action::requeue))
}

fn retry_later(known: Arc<Known>, error: &ReconcileError, shared: Arc<Shared>) -> Action {
    let mut failures = shared.failures.lock().unwrap_or_else(PoisonError::into_inner);
    // Of what was deleted while it failed, nobody tells any more.
    failures.retain(|failed, _| shared.resources.get(failed).is_some());
    let count = failures.entry(ObjectRef::from_obj(&*known)).or_default();
    *count = count.saturating_add(1);
    let mut jitter = [0_u8];
    // Without randomness the wait is merely the same for all.
    let _ = aws_lc_rs::rand::fill(&mut jitter);
    let wait = wait_after(*count, jitter[0]);
    let (name, namespace) = (known.name_any(), known.namespace().unwrap_or_default());
    tracing::warn!(name, namespace, %error, failures = *count, wait_ms = wait.as_millis(), "reconcile failed");
    Action::requeue(wait)
}
