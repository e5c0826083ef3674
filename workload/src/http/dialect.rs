//! Errors as a client of Anthropic's API reads them, which is one that asks for its messages, or says which version of the API it speaks.

use super::exchange::Exchange;
use crate::backend::ANTHROPIC_VERSION;
use crate::collect::collect;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

/// Where messages are asked for.
const MESSAGES: &str = "/v1/messages";
/// Largest error, bytes; a larger one passes as it is.
const MAX_ERROR_BYTES: usize = 1024 * 1024;

/// Whether a client speaks Anthropic's dialect where others are spoken too.
pub(super) fn is_anthropic(headers: &HeaderMap) -> bool {
    headers.contains_key(ANTHROPIC_VERSION)
}

/// Around the routes that both kinds of clients use: what is an error in OpenAI's shape becomes one in Anthropic's, for those who read that.
pub(super) async fn translate_errors(request: Request, next: Next) -> Response {
    if request.uri().path() != MESSAGES && !is_anthropic(request.headers()) {
        return next.run(request).await;
    }
    let exchange = request.extensions().get::<Exchange>().cloned();
    let response = next.run(request).await;
    if !response.status().is_client_error() && !response.status().is_server_error() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(document) = collect(body, MAX_ERROR_BYTES).await else {
        return Response::from_parts(parts, Body::empty());
    };
    let request_id = exchange.as_ref().and_then(|exchange| exchange.correlation().request_id().to_str().ok());
    let Some(translated) = translated(parts.status, &document, request_id) else {
        return Response::from_parts(parts, Body::from(document));
    };
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(translated.to_string()))
}

/// Nothing where it is in Anthropic's shape already, or in none.
fn translated(status: StatusCode, document: &[u8], request_id: Option<&str>) -> Option<Value> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(rename = "type")]
        kind: Option<String>,
        error: Error,
    }
    #[derive(Deserialize)]
    struct Error {
        message: String,
    }
    let Document { kind, error } = serde_json::from_slice(document).ok()?;
    kind.is_none().then(|| anthropic_error(status, &error.message, request_id))
}

/// An error in Anthropic's shape, with the type that its SDKs know for the status.
pub(super) fn anthropic_error(status: StatusCode, message: &str, request_id: Option<&str>) -> Value {
    let kind = match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    };
    let mut document = json!({"type": "error", "error": {"type": kind, "message": message}});
    if let Some(request_id) = request_id {
        document["request_id"] = request_id.into();
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_in_anthropics_shape_stays_as_it_is() {
        let status = StatusCode::BAD_REQUEST;
        let own = br#"{"type":"error","error":{"type":"invalid_request_error","message":"no"}}"#;
        assert_eq!(translated(status, own, Some("r")), None);
        let other = br#"{"error":{"message":"no","type":"invalid_request_error","param":"x","code":null}}"#;
        let expected = json!({"type": "error", "error": {"type": "invalid_request_error", "message": "no"}, "request_id": "r"});
        assert_eq!(translated(status, other, Some("r")), Some(expected));
    }
}
