//! What a client's headers say of a request beside its body.

use super::error::ApiError;
use crate::backend::Endpoint;
use crate::cache::Directives;
use crate::dialects::anthropic::{BETA, BETA_OF_TOKENS, VERSION};
use crate::request_error::RequestError;
use codecrucible_contract::{Task, Urgency};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::de::DeserializeOwned;

/// Says that a request is not to be sent, but what would become of it.
const DRY_RUN: HeaderName = HeaderName::from_static("x-codecrucible-dry-run");
/// Says what kind of work a request is.
const TASK: HeaderName = HeaderName::from_static("x-codecrucible-task");
/// Says how urgent a request is, if that is less than it could be, as for a batch that may wait.
const URGENCY: HeaderName = HeaderName::from_static("x-codecrucible-urgency");

/// What a client's headers say.
pub(super) struct Wishes {
    pub(super) directives: Directives,
    pub(super) is_dry_run: bool,
    pub(super) urgency: Option<Urgency>,
    pub(super) task: Option<Task>,
    /// What of them means something to a backend that speaks the client's dialect.
    pub(super) told: Option<HeaderMap>,
}

impl Wishes {
    pub(super) fn of(endpoint: Endpoint, headers: &HeaderMap) -> Result<Self, ApiError> {
        Ok(Self {
            directives: Directives::of(headers),
            is_dry_run: read(headers, DRY_RUN, "true or false", from_json)?.unwrap_or_default(),
            urgency: urgency(headers)?,
            task: read(headers, TASK, "write, change, fix, review, test or explain", from_word)?,
            told: told(endpoint, headers),
        })
    }
}

/// How urgent a client says that a request is, if it does.
pub(super) fn urgency(headers: &HeaderMap) -> Result<Option<Urgency>, RequestError> {
    read(headers, URGENCY, "high, normal or low", from_word)
}

fn read<T>(
    headers: &HeaderMap,
    name: HeaderName,
    values: &str,
    from: fn(&str) -> Option<T>,
) -> Result<Option<T>, RequestError> {
    let Some(value) = headers.get(&name) else { return Ok(None) };
    let value = value.to_str().ok().and_then(from);
    let problem = || RequestError::at(name.as_str(), format!("{name} must be {values}"));
    value.map(Some).ok_or_else(problem)
}

fn from_json<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

/// Of one of the words that a policy has too.
fn from_word<T: DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(word.into()).ok()
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
