//! Signs of life in streams whose backend says nothing for a while, so that no proxy on the way takes them for dead: a comment, which clients of
//! server-sent events pass over. Only between two events: inside of one it would be a part of it.

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// What is sent.
const HEARTBEAT: Bytes = Bytes::from_static(b": \n\n");

struct Living {
    inner: Body,
    every: Duration,
    next: Pin<Box<Sleep>>,
    is_between_events: bool,
    is_over: bool,
}

/// A stream that is silent for no longer than this.
pub(super) fn living(inner: Body, every: Duration) -> Body {
    Body::new(Living { inner, every, next: Box::pin(sleep(every)), is_between_events: true, is_over: false })
}

impl Living {
    fn rest(&mut self) {
        let next = Instant::now() + self.every;
        self.next.as_mut().reset(next);
    }
}

impl HttpBody for Living {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            match &frame {
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref().filter(|bytes| !bytes.is_empty()) {
                        this.is_between_events = ends_event(bytes);
                    }
                }
                Some(Err(_)) | None => this.is_over = true,
            }
            this.rest();
            return Poll::Ready(frame);
        }
        while !this.is_over && this.next.as_mut().poll(context).is_ready() {
            this.rest();
            if this.is_between_events {
                return Poll::Ready(Some(Ok(Frame::data(HEARTBEAT))));
            }
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Whether an empty line is last. Where it is cut from the event's last line, the next heartbeat waits for another event.
fn ends_event(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\n\n") || bytes.ends_with(b"\r\n\r\n") || bytes.ends_with(b"\r\r")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use tokio::sync::mpsc;

    const EVERY: Duration = Duration::from_secs(15);

    /// A stream, and what its backend says when.
    fn stream() -> (Body, mpsc::Sender<Result<Bytes, std::io::Error>>) {
        let (tell, mut told) = mpsc::channel(9);
        let body = Body::from_stream(futures::stream::poll_fn(move |context| told.poll_recv(context)));
        (living(body, EVERY), tell)
    }

    async fn next(body: &mut Body) -> Option<Bytes> {
        Some(body.frame().await?.unwrap().into_data().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_shows_that_it_lives_again_and_again() {
        let (mut body, tell) = stream();
        tell.try_send(Ok("data: 1\n\n".into())).unwrap();
        assert_eq!(next(&mut body).await.unwrap(), "data: 1\n\n");
        let begin = Instant::now();
        for times in 1..4 {
            assert_eq!(next(&mut body).await.unwrap(), HEARTBEAT);
            assert_eq!(begin.elapsed().as_secs(), (EVERY * times).as_secs());
        }
        tell.try_send(Ok("data: 2\n\n".into())).unwrap();
        assert_eq!(next(&mut body).await.unwrap(), "data: 2\n\n");
        drop(tell);
        assert_eq!(next(&mut body).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_that_is_not_whole_is_not_spoken_into() {
        let (mut body, tell) = stream();
        tell.try_send(Ok("data: 1".into())).unwrap();
        assert_eq!(next(&mut body).await.unwrap(), "data: 1");
        tokio::spawn(async move {
            tokio::time::sleep(EVERY * 5).await;
            tell.send(Ok("23\r\n\r\n".into())).await.unwrap();
            tokio::time::sleep(EVERY * 2).await;
        });
        assert_eq!(next(&mut body).await.unwrap(), "23\r\n\r\n");
        assert_eq!(next(&mut body).await.unwrap(), HEARTBEAT);
    }
}
