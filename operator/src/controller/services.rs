//! The controller of `CodeCrucible`s: looked at when they change, when anything of theirs does, and when a backend or a
//! client does that concerns them.

use super::failures::Failures;
use super::uses::Uses;
use super::wakes::Wakes;
use super::watches::{self, Marks, children};
use super::{Shown, concerns, note_end};
use crate::access_policy::Targets;
use crate::service::{Child, Context, Known, ReconcileError, reconcile};
use crate::telemetry::{Metrics, State};
use codecrucible_crds::{CodeCrucible, ModelBackend};
use futures::{Stream, StreamExt as _, future};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Client;
use kube::api::PartialObjectMeta;
use kube::runtime::controller::{Action, Config, Controller, Error};
use kube::runtime::reflector::{ObjectRef, Store};
use std::sync::Arc;
use std::time::Instant;

struct Shared {
    context: Context,
    metrics: Arc<Metrics>,
    resources: Store<Known>,
    uses: Arc<Uses>,
    failures: Failures<Known>,
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
    let shared = Arc::new(Shared {
        context,
        metrics: Arc::clone(&metrics),
        resources: resources.clone(),
        uses: Arc::clone(&uses),
        failures: Failures::new(),
    });
    let of_backend = {
        let uses = Arc::clone(&uses);
        move |backend: ModelBackend| uses.of(&backend.metadata)
    };
    let of_secret = move |secret: PartialObjectMeta<Secret>| {
        concerns::of_secret(&secret.metadata, &backends.state(), &uses)
    };
    let (optional, kind) = (|child| watches::optional(&client, &marks, child), Child::api_resource);
    Controller::for_stream(shown, resources)
        .with_config(Config::default().concurrency(concurrency))
        .watches_stream(children::<ServiceAccount>(&client, &marks), of_child)
        .watches_stream(children::<ConfigMap>(&client, &marks), of_child)
        .watches_stream(children::<Service>(&client, &marks), of_child)
        .watches_stream(children::<NetworkPolicy>(&client, &marks), of_child)
        .watches_stream(children::<PodDisruptionBudget>(&client, &marks), of_child)
        .watches_stream(children::<Deployment>(&client, &marks), of_child)
        .watches_stream(children::<HorizontalPodAutoscaler>(&client, &marks), of_child)
        .watches_stream(children::<Pod>(&client, &marks), of_child)
        .watches_stream_with(optional(Child::IssuedCertificate), of_child, kind(Child::IssuedCertificate))
        .watches_stream_with(optional(Child::Ingress), of_child, kind(Child::Ingress))
        .watches_stream_with(optional(Child::Route), of_child, kind(Child::Route))
        .watches_stream_with(optional(Child::RouteTrust), of_child, kind(Child::RouteTrust))
        .watches_stream(backends_shown, of_backend)
        .watches_stream(secrets, of_secret)
        .reconcile_on(wakes.woken())
        .reconcile_all_on(marks.relists())
        .run(reconcile_one, retry_later, shared)
        .for_each(move |ended| {
            if let Err(error) = ended {
                if let Error::ObjectNotFound(gone) = &error {
                    targets.forget(&ObjectRef::clone(gone).into_kind_unchecked(()));
                }
                note_end(&error, "CodeCrucible", &metrics);
            }
            future::ready(())
        })
        .await;
    anyhow::bail!("the watches ended")
}

fn of_child<K>(child: PartialObjectMeta<K>) -> Vec<concerns::Reference> {
    concerns::of_child(&child.metadata)
}

async fn reconcile_one(known: Arc<Known>, shared: Arc<Shared>) -> Result<Action, ReconcileError> {
    let (begin, mut state) = (Instant::now(), None);
    let note = |resource: &CodeCrucible| {
        shared.uses.note(resource, &shared.resources);
        state = Some(State::of(resource.status.as_ref().map_or(&[], |status| &status.conditions)));
    };
    let outcome = reconcile(&shared.context, &known, note).await;
    let label = outcome.as_ref().err().map_or("success", ReconcileError::reason);
    let is_gone = matches!(outcome, Ok(None));
    shared.metrics.note_reconcile("CodeCrucible", &*known, state, label, is_gone, begin.elapsed());
    let look_again = outcome?;
    shared.failures.forget(&known);
    Ok(look_again.map_or_else(Action::await_change, Action::requeue))
}

fn retry_later(known: Arc<Known>, error: &ReconcileError, shared: Arc<Shared>) -> Action {
    shared.failures.note(&known, error, &shared.resources)
}
