//! Where a request leads, and whether its client may send it there; and what a policy in shadow would say to it.

use super::access::{asking, permitted};
use super::authentication::Caller;
use super::error::ApiError;
use crate::authorization::Action;
use crate::routing::{PublicModel, Route, Target};
use crate::service::Service;
use crate::shadow::{Destination, Difference, Shadow};
use crate::snapshot::Snapshot;
use crate::synthesis::{Plan, SynthesisRequest};
use std::sync::Arc;

/// Where a request may go: at least one backend.
pub(super) struct Admitted<'a> {
    /// The model as clients know it.
    pub(super) public_model: &'a Arc<PublicModel>,
    /// Who may be asked.
    pub(super) targets: Vec<&'a Target>,
}

/// Where a request for a model, or for the default one, may go. A model that the caller did not name is not named to it either.
pub(super) fn admit<'a>(
    service: &Service,
    snapshot: &'a Snapshot,
    caller: &Caller,
    action: Action,
    named: Option<&str>,
) -> Result<Admitted<'a>, ApiError> {
    let route = match named {
        Some(model) => snapshot.routes.of_model(model),
        // A policy has at least one backend, and each at least one model.
        None => snapshot.routes.default(),
    };
    let targets = route.map(|route| permitted(service, snapshot, caller, action, route)).unwrap_or_default();
    compare(service, snapshot, caller, action, named, route.is_some(), &targets);
    match route {
        Some(Route { public_model, .. }) if !targets.is_empty() => Ok(Admitted { public_model, targets }),
        Some(_) => Err(ApiError::not_permitted(named)),
        None => Err(ApiError::model_not_found(named.unwrap_or_default())),
    }
}

/// Compares where a request goes with where a policy in shadow would have it go.
fn compare(
    service: &Service,
    snapshot: &Snapshot,
    caller: &Caller,
    action: Action,
    named: Option<&str>,
    is_known: bool,
    targets: &[&Target],
) {
    let Some(Ok(shadow)) = &snapshot.shadow else { return };
    let here = match targets {
        [] if is_known => Destination::Denied,
        [] => Destination::Nowhere,
        targets => {
            let destinations = targets
                .iter()
                .map(|target| (target.priority, target.backend.name(), target.backend_model.as_str()));
            Destination::Backends(destinations.collect())
        }
    };
    let there = shadow.destination(&asking(caller), action, named);
    let difference = Difference::between(&here, &there);
    if difference.is_some() {
        let revision = shadow.revision();
        tracing::info!(model = named, ?here, ?there, revision, "a request would be treated otherwise");
    }
    tell(service, shadow, caller, action, difference);
}

/// Compares what a request for a synthesis comes to, or that it is refused, with what it would come to.
pub(super) fn compare_synthesis(
    service: &Service,
    snapshot: &Snapshot,
    caller: &Caller,
    request: SynthesisRequest,
    plan: Option<&Plan>,
) {
    let Some(Ok(shadow)) = &snapshot.shadow else { return };
    let other = request.plan(shadow.synthesis());
    let difference = (other.ok().as_ref() != plan).then_some(Difference::Synthesis);
    tell(service, shadow, caller, Action::Synthesize, difference);
}

fn tell(service: &Service, shadow: &Shadow, caller: &Caller, action: Action, difference: Option<Difference>) {
    shadow.note(difference);
    let label = difference.map_or("none", Difference::as_str);
    service.metrics().shadow_comparisons.with_label_values(&[action.as_str(), label]).inc();
    if difference.is_some() {
        let (client, action) = (&*caller.principal.subject, action.as_str());
        tracing::info!(
            client,
            action,
            difference = label,
            revision = shadow.revision(),
            "the policy in shadow differs"
        );
    }
}
