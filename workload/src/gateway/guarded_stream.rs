//! A streamed answer on its way to the client.
//!
//! Frames pass untouched. An answer that stalls, breaks or ends without its end mark gets one last event
//! that tells of an error, and no end mark: nothing is spliced, and the client can tell.

use super::Meter;
use super::stream_tail::Tail;
use crate::backend::{Deadline, StreamEnd};
use crate::cache::Recording;
use bytes::{BufMut as _, Bytes, BytesMut};
use http_body::{Body, Frame};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::time::{Instant, Sleep};

/// Why a stream did not end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing came for too long, or the whole took too long.
    TimedOut,
    /// It ended before its end mark.
    Cut,
}

/// The guard around one stream. What is `held` goes with the last byte, or with the client.
pub struct GuardedStream<B, H> {
    inner: B,
    _held: H,
    deadline: Deadline,
    last_frame: Instant,
    timer: Pin<Box<Sleep>>,
    tail: Tail,
    guarded: Guarded,
    meter: Option<Meter>,
    recording: Option<Recording>,
    finished: bool,
}

/// How a stream ends well, and what is said where it does not.
#[derive(Clone, Copy)]
pub struct Guarded {
    /// By what it is known to be whole.
    pub end: StreamEnd,
    /// The event that a client gets in trouble.
    pub last_words: fn(Trouble) -> Bytes,
}

impl<B, H> GuardedStream<B, H> {
    /// Guards a stream.
    pub fn new(inner: B, deadline: Deadline, guarded: Guarded, held: H) -> Self {
        let last_frame = Instant::now();
        let timer = Box::pin(tokio::time::sleep_until(deadline.next_after(last_frame)));
        Self {
            inner,
            _held: held,
            deadline,
            last_frame,
            timer,
            tail: Tail::new(guarded.end),
            guarded,
            meter: None,
            recording: None,
            finished: false,
        }
    }

    /// Counts the tokens that pass.
    pub fn metered(self, meter: Meter) -> Self {
        Self { meter: Some(meter), ..self }
    }

    /// Writes down what passes, to be kept if it is whole. Only for streams with an end mark: without one nobody knows.
    pub fn recorded(self, recording: Option<Recording>) -> Self {
        Self { recording, ..self }
    }

    fn finish(&mut self, trouble: Trouble) -> Option<Result<Frame<Bytes>, std::convert::Infallible>> {
        self.finished = true;
        self.recording = None;
        let event = (self.guarded.last_words)(trouble);
        let mut bytes = BytesMut::with_capacity(event.len() + 2);
        if !self.tail.is_between_events() {
            // Ends what was cut, so that the event is not read as a part of it.
            bytes.put_slice(b"\n\n");
        }
        bytes.put_slice(&event);
        Some(Ok(Frame::data(bytes.freeze())))
    }

    /// The timer is set anew only when it fires: frames are many, stalls are few.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            let deadline = self.deadline.next_after(self.last_frame);
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin, H: Unpin> Body for GuardedStream<B, H> {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.finished {
            return Poll::Ready(None);
        }
        // Looked at here too: a backend that always has more to say never gets as far as the timer.
        if this.deadline.end() <= Instant::now() {
            return Poll::Ready(this.finish(Trouble::TimedOut));
        }
        let mut next = Pin::new(&mut this.inner).poll_frame(context);
        while is_empty(&next) {
            // It says nothing yet, but the backend is at work.
            this.last_frame = Instant::now();
            next = Pin::new(&mut this.inner).poll_frame(context);
        }
        match next {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    this.tail.push(data);
                    if let Some(meter) = &mut this.meter {
                        meter.frame(data);
                    }
                    if let Some(mut recording) = this.recording.take() {
                        recording.frame(data);
                        // Now, since a client may leave when it has read the mark.
                        if this.tail.has_end() {
                            recording.keep();
                        } else {
                            this.recording = Some(recording);
                        }
                    }
                }
                this.last_frame = Instant::now();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) if this.guarded.end == StreamEnd::Connection || this.tail.has_end() => {
                Poll::Ready(None)
            }
            // What comes after the end mark does not matter any more.
            Poll::Ready(Some(Err(_))) if this.tail.has_end() => Poll::Ready(None),
            Poll::Ready(_) => Poll::Ready(this.finish(Trouble::Cut)),
            Poll::Pending => {
                ready!(this.poll_patience(context));
                // A whole answer whose connection merely stays open is whole.
                Poll::Ready(if this.tail.has_end() { None } else { this.finish(Trouble::TimedOut) })
            }
        }
    }
}

fn is_empty<E>(frame: &Poll<Option<Result<Frame<Bytes>, E>>>) -> bool {
    matches!(frame, Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(Bytes::is_empty))
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecrucible_contract::Timeouts;
    use futures::{StreamExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};
    use std::time::Duration;

    const GUARDED: Guarded = Guarded { end: StreamEnd::Mark, last_words };
    const TIMEOUTS: Timeouts = Timeouts { connect_ms: 1, first_byte_ms: 1, idle_ms: 1_000, total_ms: 10_000 };

    fn last_words(trouble: Trouble) -> Bytes {
        Bytes::from(format!("data: {trouble:?}\n\n"))
    }

    type Frames = Vec<Result<Frame<Bytes>, &'static str>>;

    async fn passed(frames: Frames) -> String {
        let body = GuardedStream::new(
            StreamBody::new(stream::iter(frames)),
            Deadline::starting_now(TIMEOUTS),
            GUARDED,
            (),
        );
        String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    fn data(text: &'static str) -> Result<Frame<Bytes>, &'static str> {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    #[tokio::test]
    async fn a_whole_stream_passes_unchanged() {
        for frames in [
            vec![data("data: 1\n\ndata: [DONE]\n\n")],
            vec![data("data: 1\n\nda"), data("ta: [DO"), data("NE]\n"), data("\n")],
        ] {
            assert_eq!(passed(frames).await, "data: 1\n\ndata: [DONE]\n\n");
        }
    }

    #[tokio::test]
    async fn a_stream_that_breaks_gets_last_words_of_its_own() {
        assert_eq!(passed(vec![data("data: 1\n\n"), Err("reset")]).await, "data: 1\n\ndata: Cut\n\n");
        assert_eq!(passed(vec![data("data: {\"a"), Err("reset")]).await, "data: {\"a\n\ndata: Cut\n\n");
    }

    #[tokio::test]
    async fn a_stream_that_just_ends_is_not_taken_for_whole() {
        assert_eq!(passed(vec![data("data: 1\n\n")]).await, "data: 1\n\ndata: Cut\n\n");
        assert_eq!(passed(vec![]).await, "data: Cut\n\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_stream_ends_after_the_idle_timeout() {
        let frames = stream::iter([data("data: 1\n\n")]).chain(stream::pending());
        let body = GuardedStream::new(StreamBody::new(frames), Deadline::starting_now(TIMEOUTS), GUARDED, ());
        let start = Instant::now();
        let text = body.collect().await.unwrap().to_bytes();
        assert_eq!(text, "data: 1\n\ndata: TimedOut\n\n");
        assert_eq!(start.elapsed().as_millis(), 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_that_is_at_work_without_saying_anything_yet_is_waited_for() {
        let frames = stream::iter([data(""), data(""), data("data: [DONE]\n\n")]).then(|frame| async {
            tokio::time::sleep(Duration::from_millis(900)).await;
            frame
        });
        let body = StreamBody::new(Box::pin(frames));
        let body = GuardedStream::new(body, Deadline::starting_now(TIMEOUTS), GUARDED, ());
        assert_eq!(body.collect().await.unwrap().to_bytes(), "data: [DONE]\n\n");
    }

    #[tokio::test]
    async fn a_mark_inside_a_text_ends_nothing() {
        let text = "data: {\"x\":\"say data: [DONE]";
        assert_eq!(passed(vec![data(text)]).await, format!("{text}\n\ndata: Cut\n\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_whole_stream_that_stays_open_is_no_trouble() {
        let frames = stream::iter([data("data: 1\n\ndata: [DONE]\n\n")]).chain(stream::pending());
        let body = GuardedStream::new(StreamBody::new(frames), Deadline::starting_now(TIMEOUTS), GUARDED, ());
        assert_eq!(body.collect().await.unwrap().to_bytes(), "data: 1\n\ndata: [DONE]\n\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_never_pauses_ends_after_the_total_timeout() {
        let frames = stream::unfold((), |()| async {
            tokio::time::advance(Duration::from_millis(10)).await;
            Some((data("data: 1\n\n"), ()))
        });
        let body = GuardedStream::new(
            StreamBody::new(Box::pin(frames)),
            Deadline::starting_now(TIMEOUTS),
            GUARDED,
            (),
        );
        assert!(body.collect().await.unwrap().to_bytes().ends_with(b"data: TimedOut\n\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickling_stream_ends_after_the_total_timeout() {
        let frames = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(900)).await;
            Some((data("data: 1\n\n"), ()))
        });
        let body = GuardedStream::new(
            StreamBody::new(Box::pin(frames)),
            Deadline::starting_now(TIMEOUTS),
            GUARDED,
            (),
        );
        let start = Instant::now();
        let text = body.collect().await.unwrap().to_bytes();
        assert!(text.ends_with(b"data: TimedOut\n\n"));
        assert_eq!(start.elapsed().as_millis(), 10_000);
    }
}
