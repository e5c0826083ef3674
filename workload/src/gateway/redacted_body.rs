//! A backend's stream out of which secrets are taken, if that is to be. What comes, and has to wait, is an empty frame: it shows that the backend is at work.

use crate::redaction::RedactedEvents;
use bytes::Bytes;
use http_body::{Body, Frame};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// That it ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream ended early")]
pub struct Cut;

/// The stream.
pub struct RedactedBody<B> {
    inner: B,
    /// Nothing where all passes as it is.
    events: Option<RedactedEvents>,
    /// How it ended, once what waited is on its way.
    ended: Option<Option<Cut>>,
}

impl<B> RedactedBody<B> {
    /// What is to be taken out of it by whom.
    pub fn new(inner: B, events: Option<RedactedEvents>) -> Self {
        Self { inner, events, ended: None }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for RedactedBody<B> {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = &mut *self;
        if let Some(cut) = this.ended {
            return Poll::Ready(cut.map(Err));
        }
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(context));
        let Some(events) = &mut this.events else {
            return Poll::Ready(frame.map(|frame| frame.map_err(|_| Cut)));
        };
        let passing = match frame {
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else {
                    return Poll::Ready(Some(Ok(Frame::data(Bytes::new()))));
                };
                events.push(&data)
            }
            Some(Err(_)) => Err(crate::backend::BackendError::Cut),
            None => {
                this.ended = Some(None);
                Ok(events.finish())
            }
        };
        let bytes = passing.unwrap_or_else(|_| {
            this.ended = Some(Some(Cut));
            events.finish()
        });
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}
