//! A streamed answer on its way to the client.
//!
//! Frames pass untouched, unless secrets are taken out of them. An answer that stalls, breaks or ends without its end mark gets one last event
//! that tells of an error, and no end mark: nothing is spliced, and the client can tell.

use super::Meter;
use super::stream_tail::Tail;
use crate::backend::{BackendError, Deadline, StreamEnd};
use crate::cache::Recording;
use crate::redaction::RedactedEvents;
use bytes::{BufMut as _, Bytes, BytesMut};
use http_body::{Body, Frame};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::time::{Instant, Sleep};

/// The guard around one stream. Who is told should it break goes with the last byte, or with the client.
pub struct GuardedStream<B, F> {
    inner: B,
    broke: F,
    deadline: Deadline,
    last_frame: Instant,
    timer: Pin<Box<Sleep>>,
    tail: Tail,
    guarded: Guarded,
    meter: Option<Meter>,
    recording: Option<Recording>,
    events: Option<RedactedEvents>,
    finished: bool,
}

/// How a stream ends well, and what is said where it does not.
#[derive(Clone, Copy)]
pub struct Guarded {
    /// By what it is known to be whole.
    pub end: StreamEnd,
    /// The event that a client gets where it does not.
    pub last_words: fn(&BackendError) -> Bytes,
}

impl<B, F: FnMut(&BackendError)> GuardedStream<B, F> {
    /// Guards a stream.
    pub fn new(inner: B, deadline: Deadline, guarded: Guarded, broke: F) -> Self {
        let last_frame = Instant::now();
        let timer = Box::pin(tokio::time::sleep_until(deadline.next_after(last_frame)));
        Self {
            inner,
            broke,
            deadline,
            last_frame,
            timer,
            tail: Tail::new(guarded.end),
            guarded,
            meter: None,
            recording: None,
            events: None,
            finished: false,
        }
    }

    /// Counts the tokens that pass.
    pub fn metered(self, meter: Meter) -> Self {
        Self { meter: Some(meter), ..self }
    }

    /// Takes secrets out of it before anything else is done with it.
    pub fn redacted(self, events: Option<RedactedEvents>) -> Self {
        Self { events, ..self }
    }

    /// Writes down what passes, to be kept if it is whole. Only for streams with an end mark: without one nobody knows.
    pub fn recorded(self, recording: Option<Recording>) -> Self {
        Self { recording, ..self }
    }

    /// What passes is noted, whoever it is for.
    fn note(&mut self, data: &[u8]) {
        self.tail.push(data);
        if let Some(meter) = &mut self.meter {
            meter.frame(data);
        }
        if let Some(mut recording) = self.recording.take() {
            recording.frame(data);
            // Now, since a client may leave when it has read the mark.
            if self.tail.has_end() {
                recording.keep();
            } else {
                self.recording = Some(recording);
            }
        }
    }

    /// What of a frame passes now; nothing where all of it waits.
    fn passing(&mut self, data: &Bytes) -> Result<Option<Bytes>, BackendError> {
        let passing = match &mut self.events {
            Some(events) => events.push(data)?,
            None => data.clone(),
        };
        self.note(&passing);
        Ok((!passing.is_empty()).then_some(passing))
    }

    /// Nothing comes any more: what waited goes, and, unless the stream is whole, an event that tells so.
    fn end(&mut self, error: Option<BackendError>) -> Option<Result<Frame<Bytes>, Infallible>> {
        self.finished = true;
        let mut bytes =
            BytesMut::from(self.events.take().map(|mut events| events.finish()).unwrap_or_default());
        self.note(&bytes);
        self.recording = None;
        let is_whole = self.tail.has_end() || (error.is_none() && self.guarded.end == StreamEnd::Connection);
        if !is_whole {
            let error = error.unwrap_or(BackendError::Cut);
            (self.broke)(&error);
            if !self.tail.is_between_events() {
                // Ends what was cut, so that the event is not read as a part of it.
                bytes.put_slice(b"\n\n");
            }
            bytes.put_slice(&(self.guarded.last_words)(&error));
        }
        (!bytes.is_empty()).then(|| Ok(Frame::data(bytes.freeze())))
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

impl<B: Body<Data = Bytes> + Unpin, F: FnMut(&BackendError) + Unpin> Body for GuardedStream<B, F> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.finished {
            return Poll::Ready(None);
        }
        loop {
            match Pin::new(&mut this.inner).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.last_frame = Instant::now();
                    // Looked at here too: a backend that always has more to say never gets as far as the timer.
                    if this.deadline.end() <= this.last_frame {
                        return Poll::Ready(this.end(Some(BackendError::TimedOut)));
                    }
                    let Some(data) = frame.data_ref() else { return Poll::Ready(Some(Ok(frame))) };
                    match this.passing(data) {
                        // The backend is at work, and has said nothing yet that can go on.
                        Ok(None) => {}
                        Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                        Err(error) => return Poll::Ready(this.end(Some(error))),
                    }
                }
                Poll::Ready(None) => return Poll::Ready(this.end(None)),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(this.end(Some(BackendError::Cut))),
                Poll::Pending => {
                    ready!(this.poll_patience(context));
                    // A whole answer whose connection merely stays open is whole.
                    return Poll::Ready(this.end(Some(BackendError::TimedOut)));
                }
            }
        }
    }
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

    fn last_words(error: &BackendError) -> Bytes {
        Bytes::from(format!("data: {error:?}\n\n"))
    }

    fn nobody_is_told(_: &BackendError) {}

    type Frames = Vec<Result<Frame<Bytes>, &'static str>>;

    async fn passed(frames: Frames) -> String {
        let body = GuardedStream::new(
            StreamBody::new(stream::iter(frames)),
            Deadline::starting_now(TIMEOUTS),
            GUARDED,
            nobody_is_told,
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
        let body = GuardedStream::new(
            StreamBody::new(frames),
            Deadline::starting_now(TIMEOUTS),
            GUARDED,
            nobody_is_told,
        );
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
        let body = GuardedStream::new(body, Deadline::starting_now(TIMEOUTS), GUARDED, nobody_is_told);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "data: [DONE]\n\n");
    }

    /// All of a stream in whose answers secrets are looked for.
    async fn redacted(frames: impl futures::Stream<Item = Result<Frame<Bytes>, &'static str>>) -> String {
        use codecrucible_contract::{Redaction, RedactionMode};
        let policy =
            Redaction { is_shadow: false, answers: Some(RedactionMode::Enforce), patterns: Vec::new() };
        let redaction = crate::redaction::redactions(Some(&policy)).1.unwrap();
        let body = StreamBody::new(Box::pin(frames));
        let body = GuardedStream::new(body, Deadline::starting_now(TIMEOUTS), GUARDED, nobody_is_told)
            .redacted(Some(RedactedEvents::new(redaction.into(), |_| {})));
        String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    const BEGINNING: &str = "data: {\"text\":\"AKIAIOSF\"}\n\n";

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_given_whichever_way_the_stream_ends() {
        let whole = "data: {\"text\":\"AKIAIOSF\"}\n\ndata: [DONE]\n\n";
        assert_eq!(redacted(stream::iter([data(whole)])).await, whole);
        assert_eq!(redacted(stream::iter([data(BEGINNING)])).await, format!("{BEGINNING}data: Cut\n\n"));
        assert_eq!(
            redacted(stream::iter([data(BEGINNING), Err("reset")])).await,
            format!("{BEGINNING}data: Cut\n\n")
        );
        let stalled = stream::iter([data(BEGINNING)]).chain(stream::pending());
        assert_eq!(redacted(stalled).await, format!("{BEGINNING}data: TimedOut\n\n"));
        let open =
            stream::iter([data("data: {\"text\":\"AKIAIOSF\"}\n\ndata: [DONE]\n")]).chain(stream::pending());
        assert_eq!(redacted(open).await, format!("{BEGINNING}data: [DONE]\n"), "it is whole");
    }

    #[tokio::test]
    async fn what_cannot_be_looked_through_ends_with_an_error() {
        let frames = [data(BEGINNING), data("data: {\"text\":\ndata: \"x\"}\n\ndata: [DONE]\n\n")];
        assert_eq!(redacted(stream::iter(frames)).await, format!("{BEGINNING}data: Protocol\n\n"));
    }

    #[tokio::test]
    async fn a_mark_inside_a_text_ends_nothing() {
        let text = "data: {\"x\":\"say data: [DONE]";
        assert_eq!(passed(vec![data(text)]).await, format!("{text}\n\ndata: Cut\n\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_whole_stream_that_stays_open_is_no_trouble() {
        let frames = stream::iter([data("data: 1\n\ndata: [DONE]\n\n")]).chain(stream::pending());
        let body = GuardedStream::new(
            StreamBody::new(frames),
            Deadline::starting_now(TIMEOUTS),
            GUARDED,
            nobody_is_told,
        );
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
            nobody_is_told,
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
            nobody_is_told,
        );
        let start = Instant::now();
        let text = body.collect().await.unwrap().to_bytes();
        assert!(text.ends_with(b"data: TimedOut\n\n"));
        assert_eq!(start.elapsed().as_millis(), 10_000);
    }
}
