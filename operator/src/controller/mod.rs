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

use crate::reconcile::{Context, Known};
use crate::telemetry::Metrics;
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

/// Runs the controllers for as long as their watches live.
pub(crate) async fn run(
    client: Client,
    namespace: String,
    metrics: Arc<Metrics>,
    concurrency: u16,
) -> anyhow::Result<()> {
    let (resources, resources_writer) = reflector::store();
    let (clients, clients_writer) = reflector::store();
    let marks = Marks::default();
    let (wake_services, wake_clients) = (Wakes::<Known>::new(), Wakes::<SynthesisClient>::new());

    let services_shown = watches::resources(&client, resources_writer).inspect_ok({
        let (clients, wakes) = (clients.clone(), Arc::clone(&wake_clients));
        move |service| {
            clients::of_service(service, &clients).into_iter().for_each(|client| wakes.wake(client))
        }
    });
    let clients_shown = watches::clients(&client, clients_writer, &marks).inspect_ok({
        let wakes = Arc::clone(&wake_services);
        move |client| wakes.wake(clients::service_of(client).into_kind_unchecked(()))
    });
    let secrets_shown = watches::secrets(&client, &marks).inspect_ok({
        let wakes = Arc::clone(&wake_clients);
        move |secret: &PartialObjectMeta<_>| {
            concerns::client_of(&secret.metadata).into_iter().for_each(|client| wakes.wake(client));
        }
    });
    let context =
        Context::new(client.clone(), namespace, metrics.clone(), marks.newest(), Some(clients.clone()));
    let feed = Feed { shown: services_shown, resources, secrets: secrets_shown, wakes: wake_services, marks };
    tokio::select! {
        ended = services::run(client.clone(), context, metrics.clone(), concurrency, feed) => ended,
        ended = clients::run(client.clone(), metrics.clone(), clients_shown, clients, wake_clients) => ended,
    }
}

/// Failed reconciles are told where they are counted; what else goes wrong is a watch that does not work.
fn tell_of_trouble<E: Error + 'static>(error: &controller::Error<E, watcher::Error>) {
    match error {
        controller::Error::ReconcilerFailed(..) | controller::Error::ObjectNotFound(_) => {}
        other => tracing::warn!(error = %other, "a watch does not work"),
    }
}
