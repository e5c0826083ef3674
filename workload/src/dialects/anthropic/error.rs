//! What is wrong, as clients of Anthropic's API are told.

use http::StatusCode;
use serde_json::{Value, json};

/// An error in Anthropic's shape, with the type that its SDKs know for the status, and our code of it, which they show as `error_code`.
pub fn error_document(
    status: StatusCode,
    message: &str,
    code: Option<&str>,
    request_id: Option<&str>,
) -> Value {
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
    if let Some(code) = code {
        document["error"]["details"] = json!({"error_code": code});
    }
    if let Some(request_id) = request_id {
        document["request_id"] = request_id.into();
    }
    document
}
