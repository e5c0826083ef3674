//! What wakes a reconcile, and what happens when one fails. Each kind has a controller of its own; what one of them sees
//! that concerns another one's resources it passes on through [`wakes`].

mod backoff;
mod clients;
mod concerns;
mod failures;
mod services;
mod uses;
mod wakes;
mod watches;

use crate::client;
use crate::service::{Context, Known, Surroundings};
use crate::telemetry::Metrics;
use clients::Admitted;
use codecrucible_crds::SynthesisClient;
use futures::TryStreamExt as _;
use kube::Client;
use kube::api::PartialObjectMeta;
use kube::runtime::controller;
use kube::runtime::reflector;
use kube::runtime::watcher;
use services::Feed;
use std::error::Error;
use std::sync::Arc;
use wakes::Wakes;
use watches::Marks;

/// What a watch brings.
type Shown<K> = Result<K, watcher::Error>;

/// What the controllers are told.
pub(crate) struct Settings {
    /// Where the operator runs.
    pub(crate) namespace: String,
    /// The only namespace that is watched; all, if it is none.
    pub(crate) watched_namespace: Option<String>,
    /// Reconciles that run at once.
    pub(crate) concurrency: u16,
    /// Largest part of all services that is acted on within a while, percent.
    pub(crate) fuse_percent: u8,
}

/// Runs the controllers for as long as their watches live.
pub(crate) async fn run(client: Client, metrics: Arc<Metrics>, settings: Settings) -> anyhow::Result<()> {
    let (resources, resources_writer) = reflector::store();
    let (clients, clients_writer) = reflector::store();
    let (backends, backends_writer) = reflector::store();
    let Settings { namespace, watched_namespace, concurrency, fuse_percent } = settings;
    let marks = Marks::new(watched_namespace.as_deref());
    let (wake_services, wake_clients) = (Wakes::<Known>::new(), Wakes::<SynthesisClient>::new());

    let services_shown = watches::resources(&client, resources_writer, &marks).inspect_ok({
        let (clients, wakes) = (clients.clone(), Arc::clone(&wake_clients));
        move |service| {
            clients::of_service(service, &clients).into_iter().for_each(|client| wakes.wake(client))
        }
    });
    let clients_shown = watches::clients(&client, clients_writer, &marks).inspect_ok({
        let (admitted, wakes) = (Admitted::new(clients.clone()), Arc::clone(&wake_services));
        move |client| {
            if admitted.concerns_its_service(client) {
                wakes.wake(clients::service_of(client).into_kind_unchecked(()));
            }
        }
    });
    let secrets_shown = watches::secrets(&client, &marks).inspect_ok({
        let wakes = Arc::clone(&wake_clients);
        move |secret: &PartialObjectMeta<_>| {
            concerns::client_of(&secret.metadata).into_iter().for_each(|client| wakes.wake(client));
        }
    });
    let surroundings = Surroundings {
        namespace,
        newest: marks.newest(),
        services: Some(resources.clone()),
        backends: Some(backends.clone()),
        clients: Some(clients.clone()),
        fuse_percent,
    };
    let context = Context::new(client.clone(), metrics.clone(), surroundings);
    let feed = Feed {
        shown: services_shown,
        resources,
        secrets: secrets_shown,
        backends_shown: watches::backends(&client, backends_writer, &marks),
        backends,
        wakes: wake_services,
        marks,
    };
    let of_clients = client::Context::new(client.clone(), metrics.clone(), watched_namespace);
    tokio::select! {
        ended = services::run(client.clone(), context, metrics.clone(), concurrency, feed) => ended,
        ended = clients::run(of_clients, metrics.clone(), clients_shown, clients, wake_clients) => ended,
    }
}

/// Failed reconciles are told where they are counted; a resource that is not found is gone; what else goes wrong is a watch
/// that does not work.
fn note_end<E>(error: &controller::Error<E, watcher::Error>, kind: &'static str, metrics: &Metrics)
where
    E: Error + 'static,
{
    match error {
        controller::Error::ReconcilerFailed(..) => {}
        controller::Error::ObjectNotFound(gone) => {
            metrics.ledger.forget(kind, gone.namespace.as_deref(), &gone.name);
        }
        other => tracing::warn!(error = %other, "a watch does not work"),
    }
}
