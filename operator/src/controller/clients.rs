//! The controller of `SynthesisClient`s: looked at when they change, when their Secret does, and when their service's
//! status does.

use super::wakes::Wakes;
use super::worker::{Failure, Worker};
use super::{Shown, concerns};
use crate::client::{Context, RegistrationError, register};
use crate::service::Known;
use crate::telemetry::{Metrics, State};
use codecrucible_crds::{CodeCrucible, SynthesisClient};
use futures::{Stream, StreamExt as _, future};
use k8s_openapi::api::core::v1::Secret;
use kube::Resource;
use kube::api::PartialObjectMeta;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Clients that are looked at at once: there are many, and each is little work.
const CONCURRENCY: u16 = 4;

type ClientWorker = Worker<SynthesisClient, Context>;

/// Runs for as long as the watch lives.
pub(super) async fn run(
    context: Context,
    metrics: Arc<Metrics>,
    shown: impl Stream<Item = Shown<SynthesisClient>> + Send + 'static,
    clients: Store<SynthesisClient>,
    wakes: Arc<Wakes<SynthesisClient>>,
) -> anyhow::Result<()> {
    let worker = Worker::new("SynthesisClient", context, &metrics, clients.clone());
    let queue = Arc::clone(&worker.queue);
    Controller::for_stream(queue.of_shown(shown), clients)
        .with_config(Config::default().concurrency(CONCURRENCY))
        .reconcile_on(queue.of_woken(wakes.woken()))
        .run(reconcile_one, |client, error, worker| worker.retry_later(&*client, error), Arc::clone(&worker))
        .for_each(move |ended| {
            ended.err().and_then(|error| worker.note_end(&error));
            future::ready(())
        })
        .await;
    anyhow::bail!("the watch of SynthesisClients ended")
}

/// Has the clients looked at that name a service, when that is shown.
pub(super) fn waking_clients(
    clients: Store<SynthesisClient>,
    wakes: Arc<Wakes<SynthesisClient>>,
) -> impl FnMut(&Known) {
    move |service| of_service(service, &clients).into_iter().for_each(|client| wakes.wake(client))
}

/// Has the service looked at that a client names, when that is shown and concerns it.
pub(super) fn waking_services(
    clients: Store<SynthesisClient>,
    wakes: Arc<Wakes<Known>>,
) -> impl FnMut(&SynthesisClient) {
    let admitted = Admitted::new(clients);
    move |client| {
        if admitted.concerns_its_service(client) {
            wakes.wake(service_of(client).into_kind_unchecked(()));
        }
    }
}

/// Has the client looked at that a Secret was made for.
pub(super) fn waking_owners(wakes: Arc<Wakes<SynthesisClient>>) -> impl FnMut(&PartialObjectMeta<Secret>) {
    move |secret| concerns::client_of(&secret.metadata).into_iter().for_each(|client| wakes.wake(client))
}

/// The clients that name a service.
fn of_service(service: &impl Resource, clients: &Store<SynthesisClient>) -> Vec<ObjectRef<SynthesisClient>> {
    let service = service.meta();
    let named = |client: &Arc<SynthesisClient>| {
        let (namespace, name) = client.target();
        namespace == service.namespace && Some(name) == service.name
    };
    clients
        .state()
        .iter()
        .filter(|client| named(client))
        .map(|client| ObjectRef::from_obj(&**client))
        .collect()
}

/// The clients that were let in when they were looked at last. Those that never were do not concern their service: whoever
/// it does not let in must not keep it busy.
struct Admitted {
    existing: Store<SynthesisClient>,
    admitted: Mutex<HashSet<ObjectRef<SynthesisClient>>>,
}

impl Admitted {
    fn new(existing: Store<SynthesisClient>) -> Self {
        Self { existing, admitted: Mutex::default() }
    }

    /// Whether a client that has changed or gone is let in, or was.
    fn concerns_its_service(&self, client: &SynthesisClient) -> bool {
        let reference = ObjectRef::from_obj(client);
        let mut admitted = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        if client.status.as_ref().is_none_or(|status| status.secret_sha256.is_none()) {
            return admitted.remove(&reference);
        }
        admitted.insert(reference);
        if admitted.len() > self.existing.len() {
            admitted.retain(|client| self.existing.get(client).is_some());
        }
        true
    }
}

/// The service that a client names.
fn service_of(client: &SynthesisClient) -> ObjectRef<CodeCrucible> {
    let (namespace, name) = client.target();
    ObjectRef::new(&name).within(&namespace.unwrap_or_default())
}

impl Failure for RegistrationError {
    fn reason(&self) -> &'static str {
        self.reason()
    }
}

async fn reconcile_one(
    client: Arc<SynthesisClient>,
    worker: Arc<ClientWorker>,
) -> Result<Action, RegistrationError> {
    let look = async |state: &mut Option<State>| {
        *state = Some(State::of(client.status.as_ref().map_or(&[], |status| &status.conditions)));
        register(&worker.context, &client).await
    };
    worker.run(&*client, look).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;

    #[test]
    fn only_clients_that_are_or_were_let_in_concern_their_service() {
        let admitted = Admitted::new(reflector::store().0);
        let client = |secret_sha256: Option<&str>| {
            let spec = serde_json::from_value(json!({"targetRef": {"name": "demo"}})).unwrap();
            let mut client = SynthesisClient::new("app", spec);
            client.status = Some(serde_json::from_value(json!({"secretSha256": secret_sha256})).unwrap());
            client
        };
        assert!(!admitted.concerns_its_service(&client(None)));
        assert!(admitted.concerns_its_service(&client(Some("h"))));
    }

    #[test]
    fn a_client_that_is_thrown_out_concerns_its_service_once_more() {
        let (store, mut writer) = reflector::store();
        let spec = serde_json::from_value(json!({"targetRef": {"name": "demo"}})).unwrap();
        let mut client = SynthesisClient::new("app", spec);
        client.status = Some(serde_json::from_value(json!({"secretSha256": "h"})).unwrap());
        writer.apply_watcher_event(&Event::Apply(client.clone()));
        let admitted = Admitted::new(store);
        assert!(admitted.concerns_its_service(&client));
        client.status = None;
        assert!(admitted.concerns_its_service(&client) && !admitted.concerns_its_service(&client));
    }

    #[test]
    fn a_service_concerns_the_clients_that_name_it_wherever_they_are() {
        let (store, mut writer) = reflector::store::<SynthesisClient>();
        for (name, namespace, target) in [
            ("near", "team", json!({"name": "demo"})),
            ("far", "apps", json!({"name": "demo", "namespace": "team"})),
            ("other", "apps", json!({"name": "demo"})),
        ] {
            let mut client =
                SynthesisClient::new(name, serde_json::from_value(json!({"targetRef": target})).unwrap());
            client.metadata.namespace = Some(namespace.into());
            writer.apply_watcher_event(&Event::Apply(client));
        }
        let found = of_service(&fixtures::resource(json!({})), &store);
        let mut names: Vec<_> = found.into_iter().map(|client| client.name).collect();
        names.sort();
        assert_eq!(names, ["far", "near"]);
    }
}
