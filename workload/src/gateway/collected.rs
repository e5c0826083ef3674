//! An answer in pieces, put together.

use crate::backend::{BackendError, Deltas, MAX_ANSWER_BYTES};
use crate::dialects::{Answer, Delta};
use futures::StreamExt as _;

/// An answer, and how many bytes are in it.
pub async fn collected(mut deltas: Deltas) -> Result<(Answer, usize), BackendError> {
    let (mut answer, mut bytes) = (Answer::default(), 0);
    while let Some(delta) = deltas.next().await {
        match delta? {
            Delta::End => return Ok((answer, bytes)),
            delta => {
                bytes += delta.text().len();
                if bytes > MAX_ANSWER_BYTES {
                    return Err(BackendError::TooLarge);
                }
                answer.take(delta);
            }
        }
    }
    Err(BackendError::Cut)
}
