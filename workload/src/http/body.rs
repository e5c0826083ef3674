//! Reads request bodies within a size, a time, and the memory that all of them may take together.

use super::error::ApiError;
use super::exchange::Exchange;
use crate::collect::{CollectError, collect};
use crate::service::Service;
use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

/// Largest body of a request with a token, bytes.
pub(super) const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// Largest body of a request for a token, which anybody may send, bytes.
pub(super) const MAX_TOKEN_REQUEST_BYTES: usize = 16 * 1024;
/// Longest time that a client may take to send a body, seconds.
const MAX_BODY_SECONDS: u64 = 30;

/// A body, and its share of the memory for bodies.
pub(super) struct HeldBody {
    pub(super) bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

/// The whole body.
pub(super) async fn read(
    service: &Service,
    exchange: &Exchange,
    body: Body,
    limit_bytes: usize,
) -> Result<HeldBody, ApiError> {
    let announced = http_body::Body::size_hint(&body);
    if announced.lower() > limit_bytes as u64 {
        return Err(ApiError::body_too_large(limit_bytes));
    }
    // One that does not announce its size may become as large as any.
    let most = announced.upper().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(limit_bytes);
    let room = service.room_for_body(most.min(limit_bytes)).ok_or_else(ApiError::busy)?;
    let begin = Instant::now();
    let in_time =
        tokio::time::timeout(Duration::from_secs(MAX_BODY_SECONDS), collect(body, limit_bytes)).await;
    exchange.note_wait(begin.elapsed());
    let collected = in_time.map_err(|_elapsed| too_slow())?;
    let bytes = collected.map_err(|error| match error {
        CollectError::TooLarge => ApiError::body_too_large(limit_bytes),
        CollectError::Cut => cut(),
    })?;
    Ok(HeldBody { bytes, _room: room })
}

fn too_slow() -> ApiError {
    let message = format!("The body did not arrive within {MAX_BODY_SECONDS} seconds.");
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "invalid_request_error", "body_timeout", message)
}

fn cut() -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_request_error", "body_cut", "The body ended early.")
}
