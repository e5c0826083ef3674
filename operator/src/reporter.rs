//! Says what was seen of a resource: in its `status`, and in Events.

use crate::conventions::events::{about, announcements};
use crate::telemetry::Metrics;
use codecrucible_crds::names;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, Recorder, Reporter as Source};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Longest attempt to tell of something, seconds.
const LONGEST_EVENT_SECONDS: u64 = 5;

/// What all reconciles say things with.
pub(crate) struct Reporter {
    client: Client,
    metrics: Arc<Metrics>,
    /// Gathers what repeats into one Event.
    repeated: Recorder,
}

impl Reporter {
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        let repeated = Recorder::new(client.clone(), Source::from(names::FIELD_MANAGER));
        Self { client, metrics, repeated }
    }

    /// Writes a resource's status if it differs from the one before, and then tells of what changed in its conditions. Gives
    /// whether it was written.
    pub(crate) async fn report<K, S>(
        &self,
        resource: &K,
        before: Option<&S>,
        after: &S,
        conditions: fn(&S) -> &[Condition],
    ) -> kube::Result<bool>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
        S: Serialize + PartialEq,
    {
        if before == Some(after) || !self.write_status(resource, after).await? {
            return Ok(false);
        }
        self.announce(resource, before.map_or(&[], conditions), conditions(after)).await;
        Ok(true)
    }

    /// Writes a resource's status: its own, and not that of a later one of its name. Gives whether it still exists.
    async fn write_status<K>(&self, resource: &K, status: &impl Serialize) -> kube::Result<bool>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let (name, namespace) = (resource.name_any(), resource.namespace().unwrap_or_default());
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        let (version, kind) = (K::api_version(&()), K::kind(&()));
        let metadata = json!({"uid": resource.meta().uid});
        let patch = json!({"apiVersion": version, "kind": kind, "metadata": metadata, "status": status});
        let parameters = PatchParams::apply(names::FIELD_MANAGER).force();
        self.metrics.writes.with_label_values(&[&format!("{kind}/status")]).inc();
        match api.patch_status(&name, &parameters, &Patch::Apply(&patch)).await {
            // Deleted in the meantime: there is nothing left to report on.
            Err(kube::Error::Api(refusal)) if refusal.is_not_found() => Ok(false),
            Err(error) => Err(error),
            Ok(_) => Ok(true),
        }
    }

    /// Tells of each change of state once, however often there was one like it.
    async fn announce(
        &self,
        resource: &impl Resource<DynamicType = ()>,
        before: &[Condition],
        after: &[Condition],
    ) {
        let once = Recorder::new(self.client.clone(), Source::from(names::FIELD_MANAGER));
        for event in announcements(before, after) {
            self.publish(&once, resource, &event).await;
        }
    }

    /// Tells of something that may repeat, which then becomes one Event that counts.
    pub(crate) async fn tell(&self, resource: &impl Resource<DynamicType = ()>, event: &Event) {
        self.publish(&self.repeated, resource, event).await;
    }

    /// The status is what counts; an Event that is lost is lost.
    async fn publish(&self, recorder: &Recorder, resource: &impl Resource<DynamicType = ()>, event: &Event) {
        let reference = about(resource);
        self.metrics.writes.with_label_values(&["Event"]).inc();
        let told = recorder.publish(event, &reference);
        match timeout(Duration::from_secs(LONGEST_EVENT_SECONDS), told).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "an event was not recorded"),
            Err(_) => tracing::debug!("an event was not recorded in time"),
        }
    }
}
