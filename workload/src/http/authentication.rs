//! Bearer tokens (RFC 6750) in front of every `/v1` route.

use super::error::ApiError;
use crate::identity::TokenError;
use crate::service::Service;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::time::SystemTime;

/// Lets a request through if its token is good.
pub(super) async fn require_token(
    State(service): State<Service>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let token = bearer_token(request.headers())?;
    let snapshot = service.glance();
    let principal = snapshot.tokens.verify(token, SystemTime::now())?;
    // Who is taken off the list, or lost a secret, is out at once and not when the last token has expired.
    if snapshot.clients.credential(&principal.subject) != Some(&*principal.credential) {
        return Err(TokenError::UnknownClient.into());
    }
    drop(snapshot);
    Ok(next.run(request).await)
}

fn bearer_token(headers: &HeaderMap) -> Result<&str, TokenError> {
    let value = headers.get(AUTHORIZATION).ok_or(TokenError::Missing)?;
    let (scheme, token) =
        value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or(TokenError::Missing)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(TokenError::Missing) }
}
