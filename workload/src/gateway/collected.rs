//! An answer in pieces, put together.

use crate::backend::{BackendError, Deltas};
use crate::dialects::{Answer, Delta};
use futures::StreamExt as _;

/// Largest whole answer, bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// An answer, and how many bytes are in it.
pub async fn collected(mut deltas: Deltas) -> Result<(Answer, usize), BackendError> {
    let (mut answer, mut bytes) = (Answer::default(), 0);
    while let Some(delta) = deltas.next().await {
        match delta? {
            Delta::End => return Ok((answer, bytes)),
            delta => {
                bytes += delta.text().len();
                if bytes > MAX_ANSWER_BYTES {
                    return Err(BackendError::Protocol);
                }
                answer.take(delta);
            }
        }
    }
    Err(BackendError::Cut)
}
