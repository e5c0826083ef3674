//! Where a request goes, and how urgent it is there: what it says itself, and what its client's headers do.

use super::access::permitted;
use super::admission::{Admitted, admit};
use super::authentication::Caller;
use super::automatic::{self, TASK};
use super::error::ApiError;
use super::explanation;
use super::urgency::{URGENCY, urgency};
use crate::authorization::Action;
use crate::backend::Endpoint;
use crate::cache::Directives;
use crate::dialects::anthropic::{BETA, BETA_OF_TOKENS, VERSION};
use crate::gateway::{Escalation, ModelRequest};
use crate::routing::{Choice, Target};
use crate::service::Service;
use crate::snapshot::Snapshot;
use codecrucible_contract::Urgency;
use http::{HeaderMap, HeaderValue};

/// What a client's headers say of a request.
pub(super) struct Wishes {
    pub(super) directives: Directives,
    pub(super) is_dry_run: bool,
    /// What of them means something to a backend that speaks the client's dialect.
    pub(super) told: Option<HeaderMap>,
    urgency: Option<HeaderValue>,
    task: Option<HeaderValue>,
}

impl Wishes {
    pub(super) fn of(endpoint: Endpoint, headers: &HeaderMap) -> Result<Self, ApiError> {
        Ok(Self {
            directives: Directives::of(headers),
            is_dry_run: explanation::is_wanted(headers)?,
            told: told(endpoint, headers),
            urgency: headers.get(URGENCY).cloned(),
            task: headers.get(TASK).cloned(),
        })
    }
}

fn told(endpoint: Endpoint, headers: &HeaderMap) -> Option<HeaderMap> {
    if endpoint != Endpoint::Messages {
        return None;
    }
    let mut told = HeaderMap::new();
    told.extend(headers.get(VERSION).map(|version| (VERSION, version.clone())));
    let betas = headers.get_all(BETA).iter().filter_map(|betas| betas.to_str().ok());
    let betas =
        betas.flat_map(|betas| betas.split(',')).map(str::trim).filter(|beta| *beta != BETA_OF_TOKENS);
    let betas = HeaderValue::try_from(betas.collect::<Vec<_>>().join(",")).ok();
    told.extend(betas.filter(|betas| !betas.is_empty()).map(|betas| (BETA, betas)));
    Some(told)
}

/// Where a request goes.
pub(super) struct Destination<'a> {
    /// Why it is that model, where the client leaves that to the service.
    pub(super) choice: Option<Choice<'a>>,
    /// By the name that clients use.
    pub(super) public_model: &'a str,
    /// Who may be asked, those at last who are if the others' answer falls short.
    pub(super) targets: Vec<&'a Target>,
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
        let choice = automatic::choose(service, snapshot, caller, request, wishes.task.as_ref())?;
        let model = choice.as_ref().map_or(&*request.model, |choice| &choice.route.public_model);
        let Admitted { public_model, mut targets } =
            admit(service, snapshot, caller, Action::Complete, Some(model))?;
        if let Some(route) = choice.as_ref().and_then(|choice| choice.escalated) {
            targets.extend(permitted(service, snapshot, caller, Action::Complete, route));
        }
        let urgency = urgency(snapshot, caller, public_model, wishes.urgency.as_ref())?;
        Ok(Self { choice, public_model, targets, urgency })
    }

    /// How answers are judged, where others may be asked after them.
    pub(super) fn escalation(&self) -> Option<Escalation> {
        let choice = self.choice.as_ref().filter(|choice| choice.escalated.is_some())?;
        Some(Escalation { task: choice.judged.task })
    }
}
