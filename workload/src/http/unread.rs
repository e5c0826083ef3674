//! A limit for the time in which a client of HTTP/2 reads nothing of an answer. It gives no window for it then, and its connection is as alive as any: nobody asks for
//! more of the answer, so its own limits never come to pass, and whatever it holds would be held for ever.

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

/// Longest time in which a client may ask for nothing more of an answer, seconds.
const MAX_UNREAD_SECONDS: u64 = 60;

/// Whoever was answered does not read.
#[derive(Debug, thiserror::Error)]
#[error("the client reads nothing")]
struct NotRead;

struct Watched {
    answer: Arc<Mutex<Answer>>,
    _watching: AbortOnDropHandle<()>,
}

struct Answer {
    /// Nothing once it is given up.
    body: Option<Body>,
    /// Since when nobody asks for more; nothing while somebody waits for it.
    unread_since: Option<Instant>,
}

/// An answer that is given up when nobody reads it. Needs a runtime.
pub(super) fn given_up_unread(body: Body) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let answer = Arc::new(Mutex::new(Answer { body: Some(body), unread_since: Some(Instant::now()) }));
    let watching = tokio::spawn(watch(Arc::downgrade(&answer), Duration::from_secs(MAX_UNREAD_SECONDS)));
    Body::new(Watched { answer, _watching: AbortOnDropHandle::new(watching) })
}

/// Ends with the answer, or gives it up.
async fn watch(answer: Weak<Mutex<Answer>>, limit: Duration) {
    loop {
        let Some(held) = answer.upgrade() else { return };
        let since = lock(&held).unread_since.unwrap_or_else(Instant::now);
        drop(held);
        sleep_until(since + limit).await;
        let Some(held) = answer.upgrade() else { return };
        let body = {
            let mut held = lock(&held);
            let is_unread = held.unread_since.is_some_and(|since| since.elapsed() >= limit);
            if is_unread { held.body.take() } else { None }
        };
        if body.is_some() {
            tracing::info!(
                seconds = limit.as_secs(),
                "a client reads nothing of its answer, which is given up"
            );
            return;
        }
    }
}

fn lock(answer: &Mutex<Answer>) -> MutexGuard<'_, Answer> {
    answer.lock().unwrap_or_else(PoisonError::into_inner)
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut answer = lock(&self.answer);
        let Some(body) = &mut answer.body else {
            return Poll::Ready(Some(Err(axum::Error::new(NotRead))));
        };
        let polled = Pin::new(body).poll_frame(cx);
        answer.unread_since = polled.is_ready().then(Instant::now);
        polled
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.answer).body.as_ref().is_some_and(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.answer).body.as_ref().map(http_body::Body::size_hint).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use std::convert::Infallible;
    use tokio::sync::mpsc;
    use tokio::time::sleep;

    const LIMIT: Duration = Duration::from_secs(MAX_UNREAD_SECONDS);
    const SECOND: Duration = Duration::from_secs(1);

    /// An answer that goes on as is sent.
    fn answer() -> (mpsc::Sender<&'static str>, Body) {
        let (sender, receiver) = mpsc::channel(8);
        let frames = futures::stream::unfold(receiver, async |mut receiver: mpsc::Receiver<&'static str>| {
            Some((Ok::<_, Infallible>(receiver.recv().await?), receiver))
        });
        (sender, given_up_unread(Body::from_stream(frames)))
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_reads_is_given_up() {
        let (sender, mut body) = answer();
        sleep(LIMIT - SECOND).await;
        assert!(!sender.is_closed());
        sender.send("one").await.unwrap();
        body.frame().await.unwrap().unwrap();
        sleep(LIMIT - SECOND).await;
        assert!(!sender.is_closed(), "it was read a little");
        sleep(SECOND * 2).await;
        assert!(sender.is_closed());
        assert!(body.frame().await.unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_is_not() {
        let (sender, mut body) = answer();
        let reading = tokio::spawn(async move { body.frame().await.unwrap().is_ok() });
        sleep(LIMIT * 10).await;
        sender.send("late").await.unwrap();
        assert!(reading.await.unwrap());
    }
}
