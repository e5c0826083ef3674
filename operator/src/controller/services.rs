//! The controller of `CodeCrucible`s: looked at when they change, when anything of theirs does, and when a backend or a
//! client does that concerns them.

use super::queue::Queue;
use super::uses::Uses;
use super::wakes::Wakes;
use super::watches::{self, Marks, children};
use super::worker::{Failure, Worker};
use super::{Shown, concerns};
use crate::access_policy::Targets;
use crate::service::{Child, Context, Known, ReconcileError, reconcile};
use crate::telemetry::{Metrics, State};
use codecrucible_crds::{CodeCrucible, ModelBackend};
use futures::{Stream, StreamExt as _, future};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Client;
use kube::api::PartialObjectMeta;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::Store;
use std::sync::Arc;

type ServiceWorker = Worker<Known, Surrounded>;

/// What a reconcile needs, and whom it tells what a resource uses.
struct Surrounded {
    context: Context,
    uses: Arc<Uses>,
}

/// What the controller is fed with, beside what it watches itself.
pub(super) struct Feed<Resources, Secrets, Backends> {
    pub(super) shown: Resources,
    pub(super) resources: Store<Known>,
    pub(super) secrets: Secrets,
    pub(super) backends_shown: Backends,
    pub(super) backends: Store<ModelBackend>,
    pub(super) uses: Arc<Uses>,
    pub(super) targets: Arc<Targets>,
    pub(super) wakes: Arc<Wakes<Known>>,
    pub(super) marks: Marks,
}

/// Runs for as long as the watches live.
pub(super) async fn run<Resources, Secrets, Backends>(
    client: Client,
    context: Context,
    metrics: Arc<Metrics>,
    concurrency: u16,
    feed: Feed<Resources, Secrets, Backends>,
) -> anyhow::Result<()>
where
    Resources: Stream<Item = Shown<Known>> + Send + 'static,
    Secrets: Stream<Item = Shown<PartialObjectMeta<Secret>>> + Send + 'static,
    Backends: Stream<Item = Shown<ModelBackend>> + Send + 'static,
{
    let Feed { shown, resources, secrets, backends_shown, backends, uses, targets, wakes, marks } = feed;
    let surrounded = Surrounded { context, uses: Arc::clone(&uses) };
    let worker = Worker::new("CodeCrucible", surrounded, &metrics, resources.clone());
    let queue = Arc::clone(&worker.queue);
    let of_backend = {
        let (uses, queue) = (Arc::clone(&uses), Arc::clone(&queue));
        move |backend: ModelBackend| queue.of(uses.of(&backend.metadata))
    };
    let of_secret = {
        let queue = Arc::clone(&queue);
        move |secret: PartialObjectMeta<Secret>| {
            queue.of(concerns::of_secret(&secret.metadata, &backends.state(), &uses))
        }
    };
    let (optional, kind) = (|child| watches::optional(&client, &marks, child), Child::api_resource);
    Controller::for_stream(queue.of_shown(shown), resources)
        .with_config(Config::default().concurrency(concurrency))
        .watches_stream(children::<ServiceAccount>(&client, &marks), of_child(&queue))
        .watches_stream(children::<ConfigMap>(&client, &marks), of_child(&queue))
        .watches_stream(children::<Service>(&client, &marks), of_child(&queue))
        .watches_stream(children::<NetworkPolicy>(&client, &marks), of_child(&queue))
        .watches_stream(children::<Ingress>(&client, &marks), of_child(&queue))
        .watches_stream(children::<PodDisruptionBudget>(&client, &marks), of_child(&queue))
        .watches_stream(children::<Deployment>(&client, &marks), of_child(&queue))
        .watches_stream(children::<HorizontalPodAutoscaler>(&client, &marks), of_child(&queue))
        .watches_stream(children::<Pod>(&client, &marks), of_child(&queue))
        .watches_stream_with(
            optional(Child::IssuedCertificate),
            of_child(&queue),
            kind(Child::IssuedCertificate),
        )
        .watches_stream_with(optional(Child::Route), of_child(&queue), kind(Child::Route))
        .watches_stream_with(optional(Child::RouteTrust), of_child(&queue), kind(Child::RouteTrust))
        .watches_stream(backends_shown, of_backend)
        .watches_stream(secrets, of_secret)
        .reconcile_on(queue.of_woken(wakes.woken()))
        .reconcile_all_on(queue.of_relists(marks.relists(), worker.store.clone()))
        .run(reconcile_one, |known, error, worker| worker.retry_later(&*known, error), Arc::clone(&worker))
        .for_each(move |ended| {
            if let Some(gone) = ended.err().and_then(|error| worker.note_end(&error)) {
                targets.forget(&gone.into_kind_unchecked(()));
            }
            future::ready(())
        })
        .await;
    anyhow::bail!("the watches ended")
}

fn of_child<K>(queue: &Arc<Queue>) -> impl Fn(PartialObjectMeta<K>) -> Vec<concerns::Reference> + use<K> {
    let queue = Arc::clone(queue);
    move |child| queue.of(concerns::of_child(&child.metadata))
}

impl Failure for ReconcileError {
    fn reason(&self) -> &'static str {
        self.reason()
    }
}

async fn reconcile_one(known: Arc<Known>, worker: Arc<ServiceWorker>) -> Result<Action, ReconcileError> {
    let Surrounded { context, uses } = &worker.context;
    let look = async |state: &mut Option<State>| {
        let note = |resource: &CodeCrucible| {
            uses.note(resource, &worker.store);
            *state = Some(State::of(resource.status.as_ref().map_or(&[], |status| &status.conditions)));
        };
        reconcile(context, &known, worker.queue.length(), note).await
    };
    worker.run(&*known, look).await
}
