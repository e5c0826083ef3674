//! How urgent a request is where backends have no room for all: as the policy says of its client, or less, where the client says so
//! (`x-codecrucible-urgency: low`), as for a batch that may wait.

use super::authentication::Caller;
use crate::identity::namespace_of;
use crate::request_error::RequestError;
use crate::snapshot::Snapshot;
use codecrucible_contract::Urgency;
use http::{HeaderName, HeaderValue};

/// Says how urgent a request is, if that is less than it could be.
pub(super) const URGENCY: HeaderName = HeaderName::from_static("x-codecrucible-urgency");

/// Of a request for a model, by the name that clients use, whose client has a wish or none.
pub(super) fn urgency(
    snapshot: &Snapshot,
    caller: &Caller,
    model: &str,
    wish: Option<&HeaderValue>,
) -> Result<Urgency, RequestError> {
    let routing = &snapshot.bundle.policy().routing;
    let granted = routing.urgency(namespace_of(&caller.principal.subject, &routing.namespace), model);
    let wanted = match wish.map(HeaderValue::as_bytes) {
        None => return Ok(granted),
        Some(b"high") => Urgency::High,
        Some(b"normal") => Urgency::Normal,
        Some(b"low") => Urgency::Low,
        Some(_) => {
            let problem = format!("{URGENCY} must be high, normal or low");
            return Err(RequestError::at(URGENCY.as_str(), problem));
        }
    };
    // The more urgent ones are the lesser values.
    Ok(granted.max(wanted))
}
