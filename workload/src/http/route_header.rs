//! `x-codecrucible-route`: which backend answered, and after how many attempts.

use crate::attempts::Ledger;
use axum::response::Response;
use http::{HeaderName, HeaderValue};

/// Names a backend, never its address.
pub(super) const ROUTE: HeaderName = HeaderName::from_static("x-codecrucible-route");

pub(super) fn tell_route(mut response: Response, ledger: &Ledger) -> Response {
    if let Some(value) = ledger.summary().and_then(|summary| HeaderValue::try_from(summary).ok()) {
        response.headers_mut().insert(ROUTE, value);
    }
    response
}
