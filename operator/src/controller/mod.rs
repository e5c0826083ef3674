//! What wakes a reconcile, and what happens when one fails. Each kind has a controller of its own; what one of them sees
//! that concerns another one's resources it passes on through [`wakes`].

mod access_policies;
mod backoff;
mod clients;
mod concerns;
mod failures;
mod queue;
mod services;
mod uses;
mod wakes;
mod watches;
mod worker;

use crate::access_policy::{self, Targets};
use crate::client;
use crate::service::{Context, Known, Surroundings};
use crate::telemetry::Metrics;
use codecrucible_crds::{AccessPolicy, SynthesisClient};
use futures::TryStreamExt as _;
use kube::Client;
use kube::runtime::reflector;
use kube::runtime::watcher;
use services::Feed;
use std::sync::Arc;
use uses::Uses;
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
    let (policies, policies_writer) = reflector::store();
    let Settings { namespace, watched_namespace, concurrency, fuse_percent } = settings;
    let marks = Marks::new(watched_namespace.as_deref());
    let (wake_services, wake_clients) = (Wakes::<Known>::new(), Wakes::<SynthesisClient>::new());
    let wake_policies = Wakes::<AccessPolicy>::new();
    let uses = Arc::new(Uses::default());
    let targets = Arc::new(Targets::new({
        let wakes = Arc::clone(&wake_policies);
        move |policy| wakes.wake(policy)
    }));

    let services_shown = watches::resources(&client, resources_writer, &marks)
        .inspect_ok(clients::waking_clients(clients.clone(), Arc::clone(&wake_clients)));
    let clients_shown = watches::clients(&client, clients_writer, &marks)
        .inspect_ok(clients::waking_services(clients.clone(), Arc::clone(&wake_services)));
    let policies_shown = watches::access_policies(&client, policies_writer, &marks).inspect_ok(
        access_policies::waking_services(policies.clone(), Arc::clone(&uses), Arc::clone(&wake_services)),
    );
    let secrets_shown =
        watches::secrets(&client, &marks).inspect_ok(clients::waking_owners(Arc::clone(&wake_clients)));
    let surroundings = Surroundings {
        namespace,
        newest: marks.newest(),
        services: Some(resources.clone()),
        backends: Some(backends.clone()),
        clients: Some(clients.clone()),
        access_policies: Some(policies.clone()),
        targets: Arc::clone(&targets),
        fuse_percent,
    };
    let context = Context::new(client.clone(), metrics.clone(), surroundings);
    let of_policies =
        access_policy::Context::new(client.clone(), metrics.clone(), Arc::clone(&targets), resources.clone());
    let feed = Feed {
        shown: services_shown,
        resources,
        secrets: secrets_shown,
        backends_shown: watches::backends(&client, backends_writer, &marks),
        backends,
        uses,
        targets: Arc::clone(&targets),
        wakes: wake_services,
        marks,
    };
    let of_clients = client::Context::new(client.clone(), metrics.clone(), watched_namespace);
    tokio::select! {
        ended = services::run(client.clone(), context, metrics.clone(), concurrency, feed) => ended,
        ended = access_policies::run(of_policies, metrics.clone(), policies_shown, policies, wake_policies) => ended,
        ended = clients::run(of_clients, metrics.clone(), clients_shown, clients, wake_clients) => ended,
    }
}
