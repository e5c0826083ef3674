//! Step five: what was seen, written into `status`, and an Event for each change of state.

mod clients;
mod conditions;
mod policy;
mod status;

use super::observe::Observed;
use super::outcome::Outcome;
use super::{Context, ReconcileError};
use crate::conventions::events::{announcements, warning};
use crate::reconcile::rollout::TRIAL;
use codecrucible_crds::{CodeCrucible, CodeCrucibleStatus, conditions as types, names};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, Recorder, Reporter};
use kube::{Api, Resource as _, ResourceExt as _};
use policy::spread;
use serde_json::json;
use std::time::Duration;

/// The status could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ReportError(#[source] Box<kube::Error>);

/// Writes the status if it differs, and then tells of what changed. Gives the longest time until the next look.
pub(crate) async fn report(
    context: &Context,
    resource: &CodeCrucible,
    observed: &Observed,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<Duration, ReportError> {
    let spread = spread(resource, observed, outcome, now);
    let status = status::status(resource, observed, outcome, spread.as_ref(), now);
    let was_synced = is_synced(resource.status.as_ref());
    let took = spread.as_ref().filter(|_| !was_synced && is_synced(Some(&status)));
    let took = took.and_then(|spread| spread.took(now));
    let look_again = spread.map_or(Duration::MAX, |spread| spread.look_again(now));
    let look_again = look_again.min(clients::look_again(status.clients.as_ref(), now));
    let look_again = if status::is_on_trial(&status) { look_again.min(TRIAL) } else { look_again };
    if resource.status.as_ref() == Some(&status) {
        return Ok(look_again);
    }
    let (name, namespace) = (resource.name_any(), resource.namespace().unwrap_or_default());
    let api: Api<CodeCrucible> = Api::namespaced(context.client.clone(), &namespace);
    let patch = json!({"apiVersion": CodeCrucible::api_version(&()), "kind": CodeCrucible::kind(&()), "metadata": {"uid": resource.metadata.uid}, "status": status});
    let parameters = PatchParams::apply(names::FIELD_MANAGER).force();
    context.metrics.writes.with_label_values(&["CodeCrucible/status"]).inc();
    match api.patch_status(&name, &parameters, &Patch::Apply(&patch)).await {
        // Deleted in the meantime: there is nothing left to report on.
        Err(kube::Error::Api(refusal)) if refusal.code == 404 => return Ok(look_again),
        Err(error) => return Err(ReportError(Box::new(error))),
        Ok(_) => {}
    }
    if let Some(took) = took {
        context.metrics.policy_applied_seconds.observe(took.as_secs_f64());
    }
    let before = resource.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let recorder = Recorder::new(context.client.clone(), Reporter::from(names::FIELD_MANAGER));
    for event in announcements(before, &status.conditions) {
        // The status is what counts; an Event that is lost is lost.
        if let Err(error) = recorder.publish(&event, &resource.object_ref(&())).await {
            tracing::warn!(name, namespace, %error, "an event was not recorded");
        }
        context.metrics.writes.with_label_values(&["Event"]).inc();
    }
    Ok(look_again)
}

fn is_synced(status: Option<&CodeCrucibleStatus>) -> bool {
    let mut conditions = status.iter().flat_map(|status| &status.conditions);
    conditions.any(|condition| condition.type_ == types::POLICY_SYNCED && condition.status == "True")
}

/// Tells of a reconcile that failed. A failed write is in `status` and was announced with it; of the others
/// nothing is in `status`, which speaks of what was seen.
pub(crate) async fn tell_of_failure(context: &Context, resource: &ObjectReference, error: &ReconcileError) {
    if matches!(error, ReconcileError::Apply(_)) {
        return;
    }
    tell(context, resource, &warning(error.reason(), &error.to_string())).await;
}

/// Tells of something that may repeat, which then becomes one Event that counts.
pub(crate) async fn tell(context: &Context, resource: &ObjectReference, event: &Event) {
    context.metrics.writes.with_label_values(&["Event"]).inc();
    if let Err(error) = context.repeated.publish(event, resource).await {
        tracing::debug!(%error, "an event was not recorded");
    }
}
