//! `POST /oauth/token` (RFC 6749, client credentials) and the published keys.

use super::address;
use super::body::{self, MAX_TOKEN_REQUEST_BYTES};
use super::exchange::Exchange;
use super::limits::{self, tell_limits};
use super::listener::Peer;
use crate::limits::Refusal;
use crate::service::Service;
use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::time::SystemTime;

/// The parameters of a token request.
#[derive(Default, Deserialize)]
struct TokenRequest {
    grant_type: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

/// An error of RFC 6749, section 5.2.
struct OauthError {
    status: StatusCode,
    code: &'static str,
    description: Cow<'static, str>,
    /// What a limit says, where one refuses.
    refusal: Option<Refusal>,
}

pub(super) async fn token(service: Service, exchange: Exchange, request: Request) -> Response {
    let (Parts { headers, extensions, .. }, body) = request.into_parts();
    let snapshot = service.snapshot();
    let address = address::of_client(extensions.get::<Peer>(), &headers, &snapshot);
    let told = match limits::allowance_of_nobody(&service, &snapshot, address).await {
        Ok(told) => told,
        Err(refusal) => return limited(refusal).into_response(),
    };
    let response = match issue(&service, &exchange, &headers, body).await {
        Ok(document) => ([(CACHE_CONTROL, "no-store")], Json(document)).into_response(),
        Err(error) => error.into_response(),
    };
    tell_limits(response, &told)
}

async fn issue(
    service: &Service,
    exchange: &Exchange,
    headers: &HeaderMap,
    body: Body,
) -> Result<Value, OauthError> {
    let request = read_request(service, exchange, headers, body).await?;
    match request.grant_type.as_deref() {
        Some("client_credentials") => {}
        Some(_) => {
            return Err(bad_request("unsupported_grant_type", "only client_credentials is supported"));
        }
        None => return Err(bad_request("invalid_request", "grant_type is required")),
    }
    let (id, secret) = credentials(headers, request)?;
    if !service.clients().matches(&id, &secret) {
        return Err(invalid_client());
    }
    exchange.note_client(&id);
    let issued = service.issue_token(&id, SystemTime::now()).map_err(|error| {
        tracing::error!(%error, "no token could be issued");
        OauthError {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "server_error",
            description: "no token could be issued".into(),
            refusal: None,
        }
    })?;
    service.metrics().tokens_issued.inc();
    Ok(json!({"access_token": issued.token, "token_type": "Bearer", "expires_in": issued.expires_in}))
}

async fn read_request(
    service: &Service,
    exchange: &Exchange,
    headers: &HeaderMap,
    body: Body,
) -> Result<TokenRequest, OauthError> {
    let is_form = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"));
    if !is_form {
        return Err(bad_request("invalid_request", "the body must be application/x-www-form-urlencoded"));
    }
    let body = body::read(service, exchange, body, MAX_TOKEN_REQUEST_BYTES).await.map_err(|_| {
        bad_request("invalid_request", "the body cannot be read or is larger than 16384 bytes")
    })?;
    parse_form(&body.bytes)
        .ok_or_else(|| bad_request("invalid_request", "the body has a malformed or repeated parameter"))
}

/// Reads the parameters; one that occurs twice makes the request invalid (RFC 6749, section 3.2).
fn parse_form(bytes: &[u8]) -> Option<TokenRequest> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut request = TokenRequest::default();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = match name {
            "grant_type" => &mut request.grant_type,
            "client_id" => &mut request.client_id,
            "client_secret" => &mut request.client_secret,
            _ => continue,
        };
        if slot.replace(form_decoded(value)?).is_some() {
            return None;
        }
    }
    Some(request)
}

fn credentials(headers: &HeaderMap, request: TokenRequest) -> Result<(String, String), OauthError> {
    if let Some(header) = headers.get(AUTHORIZATION) {
        return header.to_str().ok().and_then(basic_credentials).ok_or_else(invalid_client);
    }
    match (request.client_id, request.client_secret) {
        (Some(id), Some(secret)) => Ok((id, secret)),
        _ => Err(invalid_client()),
    }
}

fn basic_credentials(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    // Both are form-encoded inside the Basic scheme (RFC 6749, section 2.3.1).
    Some((form_decoded(id)?, form_decoded(secret)?))
}

/// Decodes one value of `application/x-www-form-urlencoded`.
fn form_decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn bad_request(code: &'static str, description: &'static str) -> OauthError {
    OauthError { status: StatusCode::BAD_REQUEST, code, description: description.into(), refusal: None }
}

/// The same for an unknown client and a wrong secret.
fn invalid_client() -> OauthError {
    OauthError {
        status: StatusCode::UNAUTHORIZED,
        code: "invalid_client",
        description: "client authentication failed".into(),
        refusal: None,
    }
}

/// RFC 6749 has no code of its own for it.
fn limited(refusal: Refusal) -> OauthError {
    let (status, description) = (limits::status_of(&refusal), refusal.description.clone().into());
    OauthError { status, code: "temporarily_unavailable", description, refusal: Some(refusal) }
}

impl IntoResponse for OauthError {
    fn into_response(self) -> Response {
        let document = Json(json!({"error": self.code, "error_description": self.description}));
        let mut response = (self.status, [(CACHE_CONTROL, "no-store")], document).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, http::HeaderValue::from_static("Basic realm=\"oauth\""));
        }
        if let Some(refusal) = &self.refusal {
            limits::add_refusal(response.headers_mut(), refusal);
        }
        response
    }
}

pub(super) async fn published_keys(service: Service, _: Exchange, _: Request) -> Response {
    let snapshot = service.glance();
    Json(snapshot.tokens.keys().published()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_values_are_decoded() {
        assert_eq!(form_decoded("a+b%2Bc%C3%A9").as_deref(), Some("a b+cé"));
        for broken in ["%", "%2", "%zz", "%+1", "%ff"] {
            assert_eq!(form_decoded(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_repeated_parameter_is_refused() {
        assert!(parse_form(b"client_id=a&client_id=b").is_none());
        assert_eq!(parse_form(b"client_id=a&x=1&x=2").unwrap().client_id.as_deref(), Some("a"));
    }
}
