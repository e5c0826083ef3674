//! Reads request bodies within a size and a time.

use super::error::ApiError;
use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use std::time::Duration;

/// Largest body, bytes.
pub(super) const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// Longest time that a client may take to send a body, seconds.
const MAX_BODY_SECONDS: u64 = 30;

/// The whole body.
pub(super) async fn read(body: Body) -> Result<Bytes, ApiError> {
    let announced = http_body::Body::size_hint(&body).lower();
    if announced > MAX_BODY_BYTES as u64 {
        return Err(ApiError::body_too_large(MAX_BODY_BYTES));
    }
    let whole = Limited::new(body, MAX_BODY_BYTES).collect();
    let in_time = tokio::time::timeout(Duration::from_secs(MAX_BODY_SECONDS), whole).await;
    let Ok(collected) = in_time else {
        let message = format!("The body did not arrive within {MAX_BODY_SECONDS} seconds.");
        return Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "invalid_request_error",
            "body_timeout",
            message,
        ));
    };
    collected.map(http_body_util::Collected::to_bytes).map_err(|error| {
        if error.is::<LengthLimitError>() {
            ApiError::body_too_large(MAX_BODY_BYTES)
        } else {
            ApiError::new(
                StatusCode::BAD_REQUEST,
                "invalid_request_error",
                "body_cut",
                "The body ended early.",
            )
        }
    })
}
