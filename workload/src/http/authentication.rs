//! Bearer tokens (RFC 6750) in front of every `/v1` route.

use super::Service;
use super::error::ApiError;
use crate::identity::TokenError;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Lets a request through if its token is good, and hands the principal to the handler.
pub(super) async fn require_token(
    State(service): State<Service>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let principal = {
        let snapshot = service.snapshot.load();
        bearer_token(request.headers()).and_then(|token| snapshot.tokens.verify(token))?
    };
    request.extensions_mut().insert(principal);
    Ok(next.run(request).await)
}

fn bearer_token(headers: &HeaderMap) -> Result<&str, TokenError> {
    let value = headers.get(AUTHORIZATION).ok_or(TokenError::Missing)?;
    let (scheme, token) =
        value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or(TokenError::Missing)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(TokenError::Missing) }
}
