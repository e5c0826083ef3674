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

use crate::reconcile::{Context, Known, Surroundings};
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

/// Since which version of Kubernetes API servers stream lists unless told otherwise.
const STREAMING_SINCE: (u32, u32) = (1, 34);

/// What a watch brings.
type Shown<K> = Result<K, watcher::Error>;

/// What the controllers are told.
pub(crate) struct Settings {
    /// Where the operator runs.
    pub(crate) namespace: String,
    /// Reconciles that run at once.
    pub(crate) concurrency: u16,
    /// Largest part of all services that is acted on within a while, percent.
    pub(crate) fuse_percent: u8,
}

/// Runs the controllers for as long as their watches live.
pub(crate) async fn run(client: Client, metrics: Arc<Metrics>, settings: Settings) -> anyhow::Result<()> {
    let (resources, resources_writer) = reflector::store();
    let (clients, clients_writer) = reflector::store();
    let marks = Marks::new(streams_lists(&client).await);
    let (wake_services, wake_clients) = (Wakes::<Known>::new(), Wakes::<SynthesisClient>::new());

    let services_shown = watches::resources(&client, resources_writer, &marks).inspect_ok({
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
    let Settings { namespace, concurrency, fuse_percent } = settings;
    let surroundings = Surroundings {
        namespace,
        newest: marks.newest(),
        services: Some(resources.clone()),
        clients: Some(clients.clone()),
        fuse_percent,
    };
    let context = Context::new(client.clone(), metrics.clone(), surroundings);
    let feed = Feed { shown: services_shown, resources, secrets: secrets_shown, wakes: wake_services, marks };
    tokio::select! {
        ended = services::run(client.clone(), context, metrics.clone(), concurrency, feed) => ended,
        ended = clients::run(client.clone(), metrics.clone(), clients_shown, clients, wake_clients) => ended,
    }
}

/// Whether the API server is new enough to stream lists. One that does not tell is taken for an old one.
async fn streams_lists(client: &Client) -> bool {
    match client.apiserver_version().await {
        Ok(version) => is_at_least(&version.major, &version.minor, STREAMING_SINCE),
        Err(error) => {
            tracing::warn!(%error, "the API server's version is not known");
            false
        }
    }
}

/// Some distributions add a sign to the minor version.
fn is_at_least(major: &str, minor: &str, least: (u32, u32)) -> bool {
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().ok();
    number(major).zip(number(minor)).is_some_and(|version| version >= least)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_at_least("1", "34", STREAMING_SINCE) && is_at_least("1", "36+", STREAMING_SINCE));
        assert!(is_at_least("2", "0", STREAMING_SINCE));
        assert!(!is_at_least("1", "33", STREAMING_SINCE) && !is_at_least("1", "4", STREAMING_SINCE));
        assert!(!is_at_least("", "", STREAMING_SINCE));
    }
}
