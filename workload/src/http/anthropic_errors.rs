//! Errors as a client of Anthropic's API reads them, which is one that asks for its messages, or says which version of the API it speaks.

use crate::collect::collect;
use crate::dialects::anthropic::{VERSION, error_document};
use crate::telemetry;
use axum::body::Body;
use axum::response::Response;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, StatusCode};
use http_body::Body as _;
use serde::Deserialize;
use serde_json::Value;

/// Where messages are asked for, and all that has to do with them.
const MESSAGES: &str = "/v1/messages";
/// By what Anthropic's SDKs know a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// Largest error, bytes; a larger one passes as it is.
const MAX_ERROR_BYTES: usize = 1024 * 1024;

/// Whether a client speaks Anthropic's dialect where others are spoken too.
pub(super) fn is_anthropic(headers: &HeaderMap) -> bool {
    headers.contains_key(VERSION)
}

/// Whether a client reads errors in Anthropic's shape.
pub(super) fn are_wanted(path: &str, headers: &HeaderMap) -> bool {
    path.starts_with(MESSAGES) || is_anthropic(headers)
}

/// What is an error in OpenAI's shape becomes one in Anthropic's. Only for those who want it: all others do without another layer around each request.
pub(super) async fn translated(mut response: Response) -> Response {
    let request_id = response.headers().get(telemetry::REQUEST_ID).cloned();
    request_id.iter().for_each(|id| drop(response.headers_mut().insert(REQUEST_ID, id.clone())));
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    if !is_error || response.body().size_hint().lower() > MAX_ERROR_BYTES as u64 {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(document) = collect(body, MAX_ERROR_BYTES).await else {
        return Response::from_parts(parts, Body::empty());
    };
    let request_id = request_id.as_ref().and_then(|id| id.to_str().ok());
    let Some(translated) = document_of(parts.status, &document, request_id) else {
        return Response::from_parts(parts, Body::from(document));
    };
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(translated.to_string()))
}

/// Nothing where it is in Anthropic's shape already, or in none.
fn document_of(status: StatusCode, document: &[u8], request_id: Option<&str>) -> Option<Value> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(rename = "type")]
        kind: Option<String>,
        error: Error,
    }
    #[derive(Deserialize)]
    struct Error {
        message: String,
        code: Option<String>,
    }
    let Document { kind, error } = serde_json::from_slice(document).ok()?;
    kind.is_none().then(|| error_document(status, &error.message, error.code.as_deref(), request_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_error_in_anthropics_shape_stays_as_it_is() {
        let status = StatusCode::BAD_REQUEST;
        let own = br#"{"type":"error","error":{"type":"invalid_request_error","message":"no"}}"#;
        assert_eq!(document_of(status, own, Some("r")), None);
        let other = br#"{"error":{"message":"no","type":"invalid_request_error","param":"x","code":"busy"}}"#;
        let expected = json!({"type": "error", "error": {"type": "invalid_request_error", "message": "no", "details": {"error_code": "busy"}}, "request_id": "r"});
        assert_eq!(document_of(status, other, Some("r")), Some(expected));
    }
}
