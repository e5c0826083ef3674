//! Reads a body to its end, within a size.
//!
//! One that comes in a single piece is not copied; one in many is joined as it comes, so that tiny pieces
//! cost no more memory than their bytes.

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt as _;

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectError {
    /// It is larger than the limit.
    TooLarge,
    /// It ended early.
    Cut,
}

/// The whole body.
pub async fn collect<B>(mut body: B, limit_bytes: usize) -> Result<Bytes, CollectError>
where
    B: Body<Data = Bytes> + Unpin,
{
    // What says how long it is gets its room at once, and not twice as much each time that there is more.
    let announced = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0);
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| CollectError::Cut)?.into_data() else { continue };
        if first.len() + joined.len() + data.len() > limit_bytes {
            return Err(CollectError::TooLarge);
        }
        if first.is_empty() && joined.is_empty() {
            first = data;
        } else {
            if joined.is_empty() {
                // Only now is it known that there is more than one piece.
                joined.reserve(announced.min(limit_bytes));
            }
            joined.extend_from_slice(&std::mem::take(&mut first));
            joined.extend_from_slice(&data);
        }
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Frame;
    use http_body_util::StreamBody;

    async fn collected(pieces: &[&'static str], limit: usize) -> Result<Bytes, CollectError> {
        let frames = pieces.iter().map(|piece| match *piece {
            "broken" => Err("broken"),
            piece => Ok(Frame::data(Bytes::from_static(piece.as_bytes()))),
        });
        collect(StreamBody::new(futures::stream::iter(frames.collect::<Vec<_>>())), limit).await
    }

    #[tokio::test]
    async fn pieces_are_joined_in_order() {
        for pieces in [&["abcd"][..], &["ab", "cd"], &["", "a", "", "b", "c", "d"]] {
            assert_eq!(collected(pieces, 4).await.unwrap(), "abcd");
        }
        assert_eq!(collected(&[], 4).await.unwrap(), "");
    }

    #[tokio::test]
    async fn the_limit_counts_all_pieces() {
        assert_eq!(collected(&["ab", "cde"], 4).await, Err(CollectError::TooLarge));
        assert_eq!(collected(&["abcde"], 4).await, Err(CollectError::TooLarge));
    }

    #[tokio::test]
    async fn a_body_that_breaks_is_cut() {
        assert_eq!(collected(&["ab", "broken"], 9).await, Err(CollectError::Cut));
    }
}
