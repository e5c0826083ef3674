//! Where a request goes, and how urgent it is there.

use super::access::permitted;
use super::admission::{Admitted, admit};
use super::authentication::Caller;
use super::automatic;
use super::error::ApiError;
use super::wishes::Wishes;
use crate::authorization::Action;
use crate::gateway::ModelRequest;
use crate::identity::namespace_of;
use crate::routing::{Choice, PublicModel, Target};
use crate::service::Service;
use crate::snapshot::Snapshot;
use codecrucible_contract::Urgency;
use std::borrow::Cow;
use std::sync::Arc;

/// Where a request goes.
pub(super) struct Destination<'a> {
    /// Why it is that model, where the client leaves that to the service.
    pub(super) choice: Option<Choice<'a>>,
    /// The model as clients know it.
    pub(super) public_model: &'a Arc<PublicModel>,
    /// Who may be asked.
    pub(super) targets: Vec<&'a Target>,
    /// Who may be asked if an answer falls short.
    pub(super) better: Vec<&'a Target>,
    pub(super) urgency: Urgency,
}

impl<'a> Destination<'a> {
    pub(super) fn of(
        service: &Service,
        snapshot: &'a Snapshot,
        caller: &Caller,
        request: &ModelRequest,
        wishes: &Wishes,
    ) -> Result<Self, ApiError> {
        let choice = automatic::choose(snapshot, caller, request, wishes.task)?;
        let model = choice.as_ref().map_or(&*request.model, |choice| choice.route.public_model.name());
        let Admitted { public_model, targets } =
            admit(service, snapshot, caller, Action::Complete, Some(model))?;
        let escalated = choice.as_ref().and_then(|choice| choice.escalated);
        let better = escalated.map(|route| permitted(service, snapshot, caller, Action::Complete, route));
        let urgency = urgency(snapshot, caller, public_model.name(), wishes.urgency);
        Ok(Self { choice, public_model, targets, better: better.unwrap_or_default(), urgency })
    }

    /// The model that may be asked if an answer falls short.
    pub(super) fn better_model(&self) -> Option<&'a str> {
        self.better.first().map(|target| target.public_model.name())
    }

    /// All who may be asked, whatever for.
    pub(super) fn everybody(&self) -> Cow<'_, [&'a Target]> {
        if self.better.is_empty() {
            return Cow::Borrowed(&self.targets);
        }
        self.targets.iter().chain(&self.better).copied().collect()
    }
}

/// How urgent a request is: as the policy says of its client, or less, where the client says so.
pub(super) fn urgency(snapshot: &Snapshot, caller: &Caller, model: &str, wanted: Option<Urgency>) -> Urgency {
    let routing = &snapshot.bundle.policy().routing;
    let granted = routing.urgency(namespace_of(&caller.principal.subject, &routing.namespace), model);
    // The more urgent ones are the lesser values.
    wanted.map_or(granted, |wanted| granted.max(wanted))
}
