//! Step five: what was seen, written into `status`, and an Event for each change of state.

mod certificate;
mod clients;
mod conditions;
mod exposure;
mod first;
mod policy;
mod shadow;
mod status;
mod store;

use super::observe::Observed;
use super::outcome::Outcome;
use super::{Context, Known, ReconcileError};
use crate::access_policy::Seen;
use crate::conventions::events::warning;
use crate::service::rollout::{CANARY_PAUSE, TRIAL};
use crate::service::validate::selected;
use codecrucible_crds::{CodeCrucible, CodeCrucibleStatus, conditions as types};
use first::first;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use policy::spread;
use std::time::Duration;

/// The status could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ReportError(#[source] Box<kube::Error>);

/// Writes the status if it differs, and then tells of what changed. Gives the longest time until the next look.
#[tracing::instrument(skip_all)]
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
    let without_store = store::look_again(resource, observed, spread.as_ref());
    let look_again = spread.map_or(Duration::MAX, |spread| spread.look_again(now)).min(without_store);
    let look_again = look_again.min(clients::look_again(status.clients.as_ref(), now));
    let look_again = look_again.min(certificate::look_again(status.certificate.as_ref(), now));
    let look_again = look_again.min(exposure::look_again(observed));
    let look_again = if status::is_on_trial(&status) { look_again.min(TRIAL) } else { look_again };
    let is_tried_out = matches!(outcome, Outcome::Applied(applied) if applied.publication.canary.is_some());
    let look_again = if is_tried_out { look_again.min(CANARY_PAUSE) } else { look_again };
    note_access(context, resource, observed, &status);
    let before = resource.status.as_ref();
    let reported = context.reporter.report(resource, before, &status, |status| &status.conditions).await;
    let is_new = reported.map_err(|error| ReportError(Box::new(error)))?;
    if let Some(took) = took.filter(|_| is_new) {
        context.metrics.policy_applied_seconds.observe(took.as_secs_f64());
    }
    Ok(look_again)
}

/// Writes the first status of a resource, and gives it.
pub(crate) async fn begin(
    context: &Context,
    resource: &CodeCrucible,
    now: Timestamp,
) -> Result<CodeCrucibleStatus, ReportError> {
    let (before, status) = (resource.status.as_ref(), first(now));
    let reported = context.reporter.report(resource, before, &status, |status| &status.conditions).await;
    reported.map(|_| status).map_err(|error| ReportError(Box::new(error)))
}

/// Lets the access policies know that the service selects.
fn note_access(context: &Context, resource: &CodeCrucible, observed: &Observed, status: &CodeCrucibleStatus) {
    let selected = selected(resource, observed).unwrap_or_default();
    let seen = Seen {
        selected: selected.into_iter().map(|policy| policy.name_any()).collect(),
        in_force: status.policy.as_ref().map_or_else(Vec::new, |policy| policy.access.clone()),
        only_compares: status.policy.as_ref().is_some_and(|policy| policy.shadow.is_some()),
        is_applied: is_synced(Some(status)) || is_asleep(status),
    };
    context.targets.note(ObjectRef::from_obj(resource).into_kind_unchecked(()), seen);
}

/// Whether no replica is asked for: then there is none that could run anything else.
fn is_asleep(status: &CodeCrucibleStatus) -> bool {
    status.conditions.iter().any(|condition| condition.reason == types::REASON_SCALED_TO_ZERO)
}

fn is_synced(status: Option<&CodeCrucibleStatus>) -> bool {
    let mut conditions = status.iter().flat_map(|status| &status.conditions);
    conditions.any(|condition| condition.type_ == types::POLICY_SYNCED && condition.status == "True")
}

/// Tells of a reconcile that failed. A failed write is in `status` and was announced with it; of the others
/// nothing is in `status`, which speaks of what was seen.
pub(crate) async fn tell_of_failure(context: &Context, known: &Known, error: &ReconcileError) {
    if matches!(error, ReconcileError::Apply(_)) {
        return;
    }
    context.reporter.tell(known, &warning(error.reason(), &error.to_string())).await;
}
