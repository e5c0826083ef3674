//! What clients are told whose answers are still under way when the service has to end. A stream ends with an event that says so, and without its end
//! mark, so that its client knows that there is more, and asks again elsewhere.

use super::error::ApiError;
use super::exchange::Exchange;
use crate::service::Service;
use crate::telemetry::TroubleNote;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// An error as the event that a stream of this kind ends with.
pub(super) type LastWords = fn(&ApiError) -> Bytes;

/// Ends what was cut, so that the event is not read as a part of it; between events it says nothing.
const BETWEEN_EVENTS: &[u8] = b"\n\n";

/// Why such a stream is not whole. One whose end mark has passed, and whose backend keeps silent and the connection open, cannot be told from that here.
const STOPPING: &str = "stopping";

struct UntilFarewell {
    inner: Body,
    trouble: TroubleNote,
    token: CancellationToken,
    farewell: Pin<Box<WaitForCancellationFutureOwned>>,
    last_words: LastWords,
    is_over: bool,
}

/// An answer, or that there will be none, should it not have begun when the service has to end.
pub(super) async fn answered_in_time(service: &Service, answer: impl Future<Output = Response>) -> Response {
    let answered = service.farewell().run_until_cancelled(answer).await;
    answered.unwrap_or_else(|| ApiError::stopping().into_response())
}

/// A stream of events that lasts no longer than the service.
pub(super) fn until_farewell(
    service: &Service,
    exchange: &Exchange,
    inner: Body,
    last_words: LastWords,
) -> Body {
    let token = service.farewell().clone();
    let farewell = Box::pin(token.clone().cancelled_owned());
    let trouble = exchange.trouble_note();
    Body::new(UntilFarewell { inner, trouble, token, farewell, last_words, is_over: false })
}

impl HttpBody for UntilFarewell {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Ready(None) => return Poll::Ready(None),
            // The future is for being woken; whether it has come is cheaper to ask with each of many frames.
            Poll::Ready(frame) if !this.token.is_cancelled() => return Poll::Ready(frame),
            Poll::Ready(_) => {}
            Poll::Pending => ready!(this.farewell.as_mut().poll(context)),
        }
        this.is_over = true;
        this.trouble.set(STOPPING);
        // Nobody waits for the rest any more, the backend least of all.
        this.inner = Body::empty();
        let event = (this.last_words)(&ApiError::stopping());
        let mut bytes = BytesMut::with_capacity(BETWEEN_EVENTS.len() + event.len());
        bytes.extend_from_slice(BETWEEN_EVENTS);
        bytes.extend_from_slice(&event);
        Poll::Ready(Some(Ok(Frame::data(bytes.freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
