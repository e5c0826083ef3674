//! The events of a stream that has begun: the first frame is there already, so that a backend which never gets that far can still be
//! passed over.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A first frame and all that follows.
pub struct Begun<B> {
    first: Option<Frame<Bytes>>,
    rest: B,
}

impl<B> Begun<B> {
    pub(super) fn new(first: Frame<Bytes>, rest: B) -> Self {
        Self { first: Some(first), rest }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Begun<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
