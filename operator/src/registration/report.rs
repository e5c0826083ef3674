//! What was seen of a client, written into its `status`, and an Event for each change of state.

use super::decision::Decision;
use super::{Context, RegistrationError};
use crate::conventions::events::announcements;
use crate::conventions::{Verdict, condition, verdict};
use codecrucible_crds::{SynthesisClient, SynthesisClientStatus, conditions as names, names as labels};
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::Event;
use kube::{Api, Resource as _, ResourceExt as _};
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;

/// Longest attempt to tell of something, seconds.
const LONGEST_EVENT_SECONDS: u64 = 5;

/// Writes the status if it differs, and then tells of what changed.
pub(super) async fn report(
    context: &Context,
    client: &SynthesisClient,
    decision: &Decision,
    now: Timestamp,
) -> Result<(), RegistrationError> {
    let status = status(client, decision, now);
    if client.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let (name, namespace) = (client.name_any(), client.namespace().unwrap_or_default());
    let api: Api<SynthesisClient> = Api::namespaced(context.client.clone(), &namespace);
    let (version, kind) = (SynthesisClient::api_version(&()), SynthesisClient::kind(&()));
    // Of this client, and no later one of its name.
    let metadata = json!({"uid": client.metadata.uid});
    let patch = json!({"apiVersion": version, "kind": kind, "metadata": metadata, "status": status});
    let parameters = PatchParams::apply(labels::FIELD_MANAGER).force();
    context.metrics.writes.with_label_values(&["SynthesisClient/status"]).inc();
    match api.patch_status(&name, &parameters, &Patch::Apply(&patch)).await {
        // Deleted in the meantime: there is nothing left to report on.
        Err(kube::Error::Api(refusal)) if refusal.is_not_found() => return Ok(()),
        Err(error) => return Err(RegistrationError::Report(Box::new(error))),
        Ok(_) => {}
    }
    let before = client.status.as_ref().map_or(&[][..], |status| &status.conditions);
    for event in announcements(before, &status.conditions) {
        tell(context, client, &event).await;
    }
    Ok(())
}

/// Tells of something. The status is what counts; an Event that is lost is lost.
pub(super) async fn tell(context: &Context, client: &SynthesisClient, event: &Event) {
    let reference = client.object_ref(&());
    let told = context.events.publish(event, &reference);
    context.metrics.writes.with_label_values(&["Event"]).inc();
    match timeout(Duration::from_secs(LONGEST_EVENT_SECONDS), told).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an event was not recorded"),
        Err(_) => tracing::debug!("an event was not recorded in time"),
    }
}

fn status(client: &SynthesisClient, decision: &Decision, now: Timestamp) -> SynthesisClientStatus {
    let Decision { write: _, secret_sha256, accepted, ready } = decision;
    let before = client.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let generation = client.metadata.generation;
    let is_admitted = secret_sha256.is_some();
    let conditions = [
        (names::ACCEPTED, accepted.clone()),
        (names::READY, ready.clone()),
        (names::RECONCILING, reconciling(accepted, ready)),
        (names::STALLED, stalled(accepted)),
    ];
    SynthesisClientStatus {
        observed_generation: generation,
        conditions: conditions
            .map(|(type_, verdict)| condition(type_, verdict, generation, before, now))
            .to_vec(),
        client_id: is_admitted.then(|| client.id()),
        secret_name: is_admitted.then(|| client.secret_name()),
        secret_sha256: secret_sha256.clone(),
    }
}

fn reconciling(accepted: &Verdict, ready: &Verdict) -> Verdict {
    // A service that sleeps is not on its way to anything.
    if accepted.is_true && !ready.is_true && ready.reason != names::REASON_NO_REPLICA {
        return Verdict { is_true: true, ..ready.clone() };
    }
    verdict(false, names::REASON_STABLE, "nothing is left to do")
}

fn stalled(accepted: &Verdict) -> Verdict {
    if accepted.is_true {
        return verdict(false, names::REASON_STABLE, "nothing stands in the way");
    }
    Verdict { is_true: true, ..accepted.clone() }
}
