//! Asks the authorizer for whoever calls, counts what it says, and tells the log of every denial.

use super::authentication::Caller;
use crate::authorization::{Action, Asked, Asking, Verdict};
use crate::routing::Route;
use crate::service::Service;
use crate::snapshot::Snapshot;

/// Who asks, and under which circumstances.
pub(super) fn asking(caller: &Caller) -> Asking<'_> {
    let Caller { principal, address, now } = caller;
    Asking { client: &principal.subject, address: *address, token_age: principal.age(*now), now: *now }
}

/// Whether a caller may do something with a route's model.
pub(super) fn decide(
    service: &Service,
    snapshot: &Snapshot,
    caller: &Caller,
    action: Action,
    route: &Route,
) -> bool {
    let authorizer = &snapshot.authorizer;
    if !authorizer.rules() {
        return true;
    }
    let asking = asking(caller);
    let asked = Asked { action, model: &route.public_model, backend: route.backend.name() };
    let Verdict { is_allowed, because, shadow } = authorizer.decide(&asking, &asked);
    let (client, model, name) = (asking.client, asked.model, action.as_str());
    service.metrics().access_decisions.with_label_values(&[name, outcome(is_allowed)]).inc();
    match action {
        _ if is_allowed => {}
        // A list without some models is an answer, and each of them would be a line.
        Action::ListModels => tracing::debug!(client, model, ?because, "model not listed"),
        Action::Complete | Action::Synthesize => {
            tracing::info!(client, action = name, model, ?because, "access denied");
        }
    }
    if let Some(shadow) = shadow.filter(|shadow| *shadow != is_allowed) {
        service.metrics().shadow_differences.with_label_values(&[name, outcome(shadow)]).inc();
        tracing::info!(
            client,
            action = name,
            model,
            would_be = outcome(shadow),
            "access policies in shadow differ"
        );
    }
    is_allowed
}

fn outcome(is_allowed: bool) -> &'static str {
    if is_allowed { "allowed" } else { "denied" }
}
