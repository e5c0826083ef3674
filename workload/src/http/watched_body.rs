//! An answer's body that is watched until it ends, or until its client is gone: what watches goes with it, after what is in it has gone.

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// What watches.
pub(super) trait Watch: Send + Unpin + 'static {
    /// So many bytes were sent, and all that there is, or not.
    fn sent(&mut self, _bytes: usize, _is_whole: bool) {}
}

/// The order counts: fields go one after the other.
struct WatchedBody<W> {
    inner: Body,
    watch: W,
}

/// Watches a body.
pub(super) fn watched<W: Watch>(inner: Body, mut watch: W) -> Body {
    watch.sent(0, inner.is_end_stream());
    Body::new(WatchedBody { inner, watch })
}

impl<W: Watch> HttpBody for WatchedBody<W> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.inner).poll_frame(context);
        match &polled {
            Poll::Ready(None) => this.watch.sent(0, true),
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                // Whoever sends a body whose end is known does not ask for more.
                this.watch.sent(bytes, this.inner.is_end_stream());
            }
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
