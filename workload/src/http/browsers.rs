//! What browsers need before pages of other origins may use the API (CORS, WHATWG Fetch, section 3.2). No cookie is ever looked at: pages send a token
//! like everybody else, so nothing is allowed with credentials.

use crate::service::Service;
use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

/// For how long a browser may remember what it was allowed, seconds.
const REMEMBERED_SECONDS: u64 = 600;
/// Longest list of headers that a page is allowed to send, bytes.
const MAX_REQUESTED_BYTES: usize = 2048;
/// For how long a browser is not to speak without encryption any more: a year.
const ENCRYPTED_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");
/// Every origin.
const ALL: &str = "*";
/// What pages may read of an answer's headers beside the few that they always may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-request-id, x-codecrucible-route, x-codecrucible-redacted, x-codecrucible-overhead-us, retry-after, ratelimit, ratelimit-policy, cache-status, age",
);
/// Methods of the API.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST");

/// The origin that a browser tells, if its pages may use the API.
fn allowed<'a>(service: &Service, origin: Option<&'a HeaderValue>) -> Option<&'a HeaderValue> {
    let snapshot = service.glance();
    let allowed = &snapshot.bundle.policy().allowed_origins;
    let is_allowed =
        |origin: &&HeaderValue| allowed.iter().any(|one| one == ALL || one.as_bytes() == origin.as_bytes());
    origin.filter(is_allowed)
}

/// Tells a browser whether the page that asked may read an answer.
pub(super) fn tell_origin(service: &Service, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    if service.glance().bundle.policy().allowed_origins.is_empty() {
        return;
    }
    // Also to those who are not allowed: what is stored on the way must not be given to somebody else.
    headers.append(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = allowed(service, origin) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

/// What holds for every answer: it is what it says it is, and whoever came over TLS comes so again.
pub(super) fn harden(service: &Service, headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if service.is_encrypted() {
        headers.insert(STRICT_TRANSPORT_SECURITY, ENCRYPTED_ONLY);
    }
}

/// The answer to a browser that asks what a page may send, if it is one and the page may.
pub(super) fn preflight(service: &Service, method: &Method, asked: &HeaderMap) -> Option<Response> {
    if method != Method::OPTIONS || !asked.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    let origin = allowed(service, asked.get(ORIGIN))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    tell_origin(service, Some(origin), headers);
    headers.append(VARY, HeaderValue::from_static("access-control-request-headers"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(REMEMBERED_SECONDS));
    // SDKs send headers of their own, which nobody here looks at.
    let requested =
        asked.get(ACCESS_CONTROL_REQUEST_HEADERS).filter(|names| names.len() <= MAX_REQUESTED_BYTES);
    headers.extend(requested.cloned().map(|names| (ACCESS_CONTROL_ALLOW_HEADERS, names)));
    Some(response)
}
