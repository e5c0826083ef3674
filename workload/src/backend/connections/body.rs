//! What comes of an answer, and the connection that it comes over: kept for others once all has come, closed if that will never be.

use super::connection::Connection;
use super::idle::Idle;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::task::coop::poll_proceed;

/// The body of an answer.
pub struct AnswerBody {
    /// Nothing once nobody reads it any more.
    body: Option<Incoming>,
    /// Nothing once all has been read.
    connection: Option<Box<Connection>>,
    idle: Arc<Idle>,
}

impl AnswerBody {
    pub(super) fn new(body: Incoming, connection: Box<Connection>, idle: Arc<Idle>) -> Self {
        Self { body: Some(body), connection: Some(connection), idle }
    }

    /// The connection is for others, if all of the answer has come.
    fn release(&mut self) {
        if let Some(mut connection) = self.connection.take()
            && connection.is_free()
        {
            self.idle.put(connection);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Self { body: Some(body), connection, .. } = &mut *self else { return Poll::Ready(None) };
        // What is there already costs no look at the network: of very small pieces there may be so many that others would wait for long.
        let turn = ready!(poll_proceed(context));
        let frame = match connection {
            Some(connection) => connection.drive(context, |context| Pin::new(&mut *body).poll_frame(context)),
            None => Pin::new(body).poll_frame(context),
        };
        if frame.is_ready() {
            turn.made_progress();
        }
        if let Poll::Ready(None) = frame {
            self.release();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        // So that what has come of it is in nobody's way, if that is little, and the server is told otherwise.
        self.body = None;
        // What panicked may panic again.
        if !std::thread::panicking() {
            self.release();
        }
    }
}
