//! Bearer tokens (RFC 6750) in front of every `/v1` route.

use super::address;
use super::error::ApiError;
use super::exchange::Exchange;
use super::listener::Peer;
use crate::dialects::anthropic::API_KEY;
use crate::identity::{Principal, TokenError};
use crate::service::Service;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// Who calls, and from where.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) principal: Arc<Principal>,
    /// From where, as far as proxies are trusted to tell.
    pub(super) address: IpAddr,
    /// When the request arrived.
    pub(super) now: SystemTime,
}

/// Lets a request through if its token is good.
pub(super) async fn require_token(
    State(service): State<Service>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let now = SystemTime::now();
    let token = bearer_token(request.headers())?;
    let snapshot = service.glance();
    let principal = snapshot.tokens.verify(token, now)?;
    // Who is taken off the list, or lost a secret, is out at once and not when the last token has expired.
    if service.clients().credential(&principal.subject) != Some(&*principal.credential) {
        return Err(TokenError::UnknownClient.into());
    }
    let address = address::of_client(request.extensions().get::<Peer>(), request.headers(), &snapshot);
    drop(snapshot);
    let_in(&mut request, Caller { principal, address, now });
    Ok(next.run(request).await)
}

/// From now on it is known who asks.
pub(super) fn let_in(request: &mut Request, caller: Caller) {
    let exchange = request.extensions().get::<Exchange>();
    exchange.inspect(|exchange| exchange.note_client(&caller.principal.subject));
    request.extensions_mut().insert(caller);
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
