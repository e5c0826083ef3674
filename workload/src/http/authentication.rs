//! Bearer tokens (RFC 6750) in front of every `/v1` route.

use super::address;
use super::listener::Peer;
use crate::dialects::anthropic::API_KEY;
use crate::identity::{Principal, TokenError};
use crate::service::Service;
use axum::extract::Request;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// Who calls, and from where.
pub(super) struct Caller {
    pub(super) principal: Arc<Principal>,
    /// From where, as far as proxies are trusted to tell.
    pub(super) address: IpAddr,
    /// When the request arrived.
    pub(super) now: SystemTime,
}

impl Caller {
    /// Whoever has the token that comes with a request, if it is good.
    pub(super) fn of(service: &Service, request: &Request) -> Result<Self, TokenError> {
        let now = SystemTime::now();
        let token = bearer_token(request.headers())?;
        let snapshot = service.glance();
        let principal = snapshot.tokens.verify(token, now)?;
        // Who is taken off the list, or lost a secret, is out at once and not when the last token has expired.
        if service.clients().credential(&principal.subject) != Some(&*principal.credential) {
            return Err(TokenError::UnknownClient);
        }
        let address = address::of_client(request.extensions().get::<Peer>(), request.headers(), &snapshot);
        Ok(Self { principal, address, now })
    }
}

/// The token, also where Anthropic's SDKs have their key.
fn bearer_token(headers: &HeaderMap) -> Result<&str, TokenError> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        let key = headers.get(API_KEY).and_then(|key| key.to_str().ok());
        return key.map(str::trim).ok_or(TokenError::Missing);
    };
    let (scheme, token) =
        value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or(TokenError::Missing)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(TokenError::Missing) }
}
