//! The patience with answers that come piece by piece.

use super::{BackendError, Deadline, Deltas};
use crate::dialects::Delta;
use futures::{Stream, StreamExt as _};
use tokio::time::{Instant, timeout_at};

/// Ends an answer whose first piece does not come until `first`, that stalls, or that takes too long
/// altogether.
pub(super) fn within(
    answer: impl Stream<Item = Result<Delta, BackendError>> + Send + 'static,
    deadline: Deadline,
    first: Instant,
) -> Deltas {
    futures::stream::unfold(Some((answer.boxed(), first)), move |state| async move {
        let (mut answer, until) = state?;
        match timeout_at(until, answer.next()).await {
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some((answer, deadline.next_after(Instant::now()))))),
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Ok(None) => None,
            Err(_elapsed) => Some((Err(BackendError::TimedOut), None)),
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecrucible_contract::Timeouts;
    use futures::stream;
    use std::time::Duration;

    const TIMEOUTS: Timeouts =
        Timeouts { connect_ms: 1, first_byte_ms: 3_000, idle_ms: 1_000, total_ms: 10_000 };

    /// What is heard of pieces that come after so many milliseconds each, and when that ends.
    async fn heard(pauses_ms: Vec<u64>) -> (usize, Option<BackendError>, u128) {
        let start = Instant::now();
        let deadline = Deadline::starting_now(TIMEOUTS);
        let pieces = stream::iter(pauses_ms).then(|pause| async move {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            Ok(Delta::Text("x".into()))
        });
        let all: Vec<_> = within(Box::pin(pieces), deadline, deadline.first_byte()).collect().await;
        let error = all.last().and_then(|last| last.clone().err());
        (all.iter().filter(|piece| piece.is_ok()).count(), error, start.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_piece_has_a_patience_of_its_own() {
        assert_eq!(heard(vec![2_900, 900]).await, (2, None, 3_800));
        assert_eq!(heard(vec![3_100]).await, (0, Some(BackendError::TimedOut), 3_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_between_pieces_ends_the_answer() {
        assert_eq!(heard(vec![100, 1_100]).await, (1, Some(BackendError::TimedOut), 1_100));
    }

    #[tokio::test(start_paused = true)]
    async fn the_whole_time_counts_from_the_requests_start() {
        assert_eq!(heard(vec![900; 20]).await, (11, Some(BackendError::TimedOut), 10_000));
    }
}
