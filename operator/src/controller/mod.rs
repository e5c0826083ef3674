//! What wakes a reconcile, and what happens when one fails.

mod backoff;
mod concerns;
mod uses;
mod watches;

use crate::reconcile::{Context, Known, Newest, ReconcileError, reconcile};
use crate::telemetry::Metrics;
use backoff::wait_after;
use codecrucible_crds::ModelBackend;
use concerns::Reference;
use futures::{StreamExt as _, future};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::PartialObjectMeta;
use kube::runtime::controller::{self, Action, Config as ControllerConfig, Controller};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use uses::Uses;
use watches::children;

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
pub(crate) async fn run(
    client: Client,
    namespace: String,
    metrics: Arc<Metrics>,
    concurrency: u16,
) -> anyhow::Result<()> {
    let (resources, writer) = reflector::store();
    let (uses, newest) = (Arc::new(Uses::default()), Arc::new(Newest::default()));
    let shared = Arc::new(Shared {
        context: Context::new(client.clone(), namespace, metrics.clone(), Arc::clone(&newest)),
        metrics,
        resources: resources.clone(),
        uses: Arc::clone(&uses),
        failures: Mutex::default(),
    });
    let relisted = Arc::new(Notify::new());
    let (backends, backends_writer) = reflector::store();
    let controller = Controller::for_stream(watches::resources(&client, writer), resources)
        .with_config(ControllerConfig::default().concurrency(concurrency));
    let of_backend = {
        let uses = Arc::clone(&uses);
        move |backend: ModelBackend| uses.of(&backend.metadata)
    };
    let of_secret = move |secret: PartialObjectMeta<Secret>| {
        concerns::of_secret(&secret.metadata, &backends.state(), &uses)
    };
    controller
        .watches_stream(children::<ServiceAccount>(&client, &newest, &relisted), |child| {
            concerns::of_child(&child.metadata)
        })
        .watches_stream(children::<ConfigMap>(&client, &newest, &relisted), |child| {
            concerns::of_child(&child.metadata)
        })
        .watches_stream(children::<Service>(&client, &newest, &relisted), |child| {
            concerns::of_child(&child.metadata)
        })
        .watches_stream(children::<NetworkPolicy>(&client, &newest, &relisted), |child| {
            concerns::of_child(&child.metadata)
        })
        .watches_stream(children::<PodDisruptionBudget>(&client, &newest, &relisted), |child| {
            concerns::of_child(&child.metadata)
        })
        .watches_stream(children::<Deployment>(&client, &newest, &relisted), |child| {
            concerns::of_child(&child.metadata)
        })
        .watches_stream(children::<HorizontalPodAutoscaler>(&client, &newest, &relisted), |child| {
            concerns::of_child(&child.metadata)
        })
        .watches_stream(children::<Pod>(&client, &newest, &relisted), |pod| concerns::of_child(&pod.metadata))
        .watches_stream(watches::backends(&client, backends_writer, &newest, &relisted), of_backend)
        .watches_stream(watches::secrets(&client, &newest, &relisted), of_secret)
        .reconcile_all_on(watches::relists(relisted))
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

/// Failed reconciles are told where they are counted; what else goes wrong is a watch that does not work.
fn tell_of_trouble(error: &controller::Error<ReconcileError, watcher::Error>) {
    match error {
        controller::Error::ReconcilerFailed(..) | controller::Error::ObjectNotFound(_) => {}
        other => tracing::warn!(error = %other, "a watch does not work"),
    }
}

async fn reconcile_one(known: Arc<Known>, shared: Arc<Shared>) -> Result<Action, ReconcileError> {
    let timer = shared.metrics.reconcile_seconds.start_timer();
    let note = |resource: &_| shared.uses.note(resource, &shared.resources);
    let outcome = reconcile(&shared.context, &known, note).await;
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
