//! Asks the authorizer for whoever calls, counts what it says, and tells the log of every denial.

use super::authentication::Caller;
use crate::authorization::{Action, Asked, Asking};
use crate::routing::{Route, Target};
use crate::service::Service;
use crate::snapshot::Snapshot;

/// Who asks, and under which circumstances.
pub(super) fn asking(caller: &Caller) -> Asking<'_> {
    let Caller { principal, address, now } = caller;
    Asking { client: &principal.subject, address: *address, token_age: principal.age(*now), now: *now }
}

/// Those of a route's backends where a caller may do something with its model.
pub(super) fn permitted<'a>(
    service: &Service,
    snapshot: &Snapshot,
    caller: &Caller,
    action: Action,
    route: &'a Route,
) -> Vec<&'a Target> {
    let authorizer = &snapshot.authorizer;
    if !authorizer.rules() {
        return route.targets.iter().collect();
    }
    let asking = asking(caller);
    let (model, name) = (route.public_model.name(), action.as_str());
    let (mut permitted, mut reasons, mut shadow) = (Vec::new(), Vec::new(), None);
    for target in &route.targets {
        let asked = Asked { action, model, backend: target.backend.name() };
        let verdict = authorizer.decide(&asking, &asked);
        shadow = shadow.max(verdict.shadow);
        if verdict.is_allowed {
            permitted.push(target);
        } else {
            reasons.extend_from_slice(&verdict.because);
        }
    }
    let is_allowed = !permitted.is_empty();
    service.metrics().decided_access(name, outcome(is_allowed));
    let client = asking.client;
    match action {
        _ if is_allowed => {}
        // A list without some models is an answer, and each of them would be a line.
        Action::ListModels => tracing::debug!(client, model, because = ?reasons, "model not listed"),
        Action::Complete | Action::Synthesize => {
            tracing::info!(client, action = name, model, because = ?reasons, "access denied");
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
    permitted
}

/// Whether a caller may do something with a model at any backend; nothing is told of it.
pub(super) fn may(snapshot: &Snapshot, caller: &Caller, action: Action, route: &Route) -> bool {
    let (authorizer, asking) = (&snapshot.authorizer, asking(caller));
    let may = |target: &Target| {
        let asked = Asked { action, model: route.public_model.name(), backend: target.backend.name() };
        authorizer.decide(&asking, &asked).is_allowed
    };
    !authorizer.rules() || route.targets.iter().any(may)
}

fn outcome(is_allowed: bool) -> &'static str {
    if is_allowed { "allowed" } else { "denied" }
}
