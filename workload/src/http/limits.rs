//! Asks the limits for whoever calls, and tells how it stands with them: `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers), and `Retry-After` for who is refused.

use super::authentication::Caller;
use super::error::ApiError;
use super::exchange::{Exchange, Refusing};
use crate::limits::{Allowance, Asked, Refusal, Told};
use crate::service::Service;
use crate::snapshot::Snapshot;
use axum::response::Response;
use codecrucible_contract::LimitedRoute;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::fmt::Write as _;
use std::net::IpAddr;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STANDING: HeaderName = HeaderName::from_static("ratelimit");

/// Tells OpenAI's SDKs not to try again by themselves.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// How long a client may be kept waiting without a word, seconds.
const LONGEST_RETRY_SECONDS: u64 = 60;

/// What a request wants.
pub(super) struct Wanted<'a> {
    pub(super) route: LimitedRoute,
    /// The model, by the name that clients use.
    pub(super) model: Option<&'a str>,
    /// Another one that it may come to.
    pub(super) or_model: Option<&'a str>,
    /// The tokens that it may use.
    pub(super) tokens: u64,
}

/// What asking for models, and for what would become of a request, wants.
pub(super) const LISTED: Wanted<'static> =
    Wanted { route: LimitedRoute::Models, model: None, or_model: None, tokens: 0 };

/// What a client's request is given by the limits, if they admit it.
pub(super) async fn allowance(
    service: &Service,
    snapshot: &Snapshot,
    (caller, exchange): (&Caller, &Exchange),
    wanted: Wanted<'_>,
) -> Result<Allowance, ApiError> {
    let Wanted { route, model, or_model, tokens } = wanted;
    let client = &*caller.principal.subject;
    let asked = Asked { route, model, or_model, client: Some(client), address: caller.address, tokens };
    match service.admit(snapshot, &asked).await {
        Ok(mut allowance) => {
            allowance.held.take().into_iter().for_each(|held| exchange.hold(held));
            let refusing = allowance.refused_in_shadow.clone().map(Refusing::InShadow);
            refusing.into_iter().for_each(|refusing| exchange.note_limit(refusing));
            Ok(allowance)
        }
        Err(refusal) => {
            let refusing = refusal.limit.clone().map(Refusing::InForce);
            refusing.into_iter().for_each(|refusing| exchange.note_limit(refusing));
            Err(ApiError::limited(refusal))
        }
    }
}

/// The same of one who asks for a token.
pub(super) async fn allowance_of_nobody(
    service: &Service,
    snapshot: &Snapshot,
    address: IpAddr,
) -> Result<Vec<Told>, Refusal> {
    let route = LimitedRoute::Token;
    let asked = Asked { route, model: None, or_model: None, client: None, address, tokens: 0 };
    service.admit(snapshot, &asked).await.map(|allowance| allowance.told)
}

/// One of the limits refuses it, or none can be asked.
pub(super) fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal.limit {
        Some(_) => StatusCode::TOO_MANY_REQUESTS,
        None => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Says when to come back, and how a client stands with the limits.
pub(super) fn add_refusal(headers: &mut HeaderMap, refusal: &Refusal) {
    headers.insert(RETRY_AFTER, HeaderValue::from(refusal.retry_seconds()));
    if refusal.retry_seconds() > LONGEST_RETRY_SECONDS {
        ask_no_more(headers);
    }
    add_limits(headers, &refusal.told);
}

/// Says that to ask again soon is no use.
pub(super) fn ask_no_more(headers: &mut HeaderMap) {
    headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
}

/// Says how a client stands with the limits that are in force.
pub(super) fn tell_limits(mut response: Response, told: &[Told]) -> Response {
    add_limits(response.headers_mut(), told);
    response
}

fn add_limits(headers: &mut HeaderMap, told: &[Told]) {
    if told.is_empty() {
        return;
    }
    let (mut policies, mut standings) = (String::new(), String::new());
    for Told { policy, name, remaining, reset_ms } in told {
        let comma = if policies.is_empty() { "" } else { ", " };
        // Writing to a string does not fail. Whole seconds, the last one begun.
        let _ = write!(policies, "{comma}{policy}");
        let _ = write!(standings, "{comma}\"{name}\";r={remaining}");
        if let Some(reset_ms) = reset_ms {
            let _ = write!(standings, ";t={}", reset_ms.div_ceil(1_000));
        }
    }
    for (header, text) in [(POLICY, policies), (STANDING, standings)] {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(header, value);
        }
    }
}
