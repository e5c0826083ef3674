//! A limit for the time until a client has said which protocol it speaks. The server below has none before it knows that, and
//! without one a client that says nothing would keep its place for ever.

use super::heads::Ear;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What a client of HTTP/2 sends first (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that ends unless its client has begun to speak in time.
pub(super) struct FirstWords<S> {
    stream: S,
    /// Told of every word.
    ear: Ear,
    /// Nothing once it is known what is spoken.
    waiting: Option<Waiting>,
}

struct Waiting {
    until: Pin<Box<Sleep>>,
    /// How much of the preface of HTTP/2 has come, bytes.
    heard: usize,
}

impl<S> FirstWords<S> {
    /// Must be made within a runtime.
    pub(super) fn within(limit: Duration, stream: S, ear: Ear) -> Self {
        Self { stream, ear, waiting: Some(Waiting { until: Box::pin(sleep(limit)), heard: 0 }) }
    }
}

impl Waiting {
    /// Whether it is known now what is spoken: all of the preface, or something else.
    fn hear(&mut self, words: &[u8]) -> bool {
        let rest = &HTTP2_PREFACE[self.heard..];
        self.heard += words.len();
        words.len() >= rest.len() || !rest.starts_with(words)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstWords<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(waiting) = &mut this.waiting else {
            let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
            if read.is_ready() {
                this.ear.hear();
            }
            return read;
        };
        if waiting.until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        this.ear.hear();
        if waiting.hear(&buffer.filled()[before..]) {
            this.waiting = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstWords<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    const LIMIT: Duration = Duration::from_secs(10);

    /// A client, and the connection as the server has it.
    fn connection() -> (DuplexStream, FirstWords<DuplexStream>) {
        let (client, server) = duplex(1024);
        (client, FirstWords::within(LIMIT, server, Ear::default()))
    }

    /// Reads until the other side is silent for longer than the limit, or its time is over; whether that was so.
    async fn is_cut_off(said: &[&[u8]]) -> bool {
        let (mut client, mut server) = connection();
        for words in said {
            client.write_all(words).await.unwrap();
        }
        let mut words = [0; 8];
        loop {
            match tokio::time::timeout(LIMIT * 2, server.read(&mut words)).await {
                Err(_still_waiting) => return false,
                Ok(Err(error)) => return error.kind() == io::ErrorKind::TimedOut,
                Ok(Ok(_)) => {}
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_or_only_begins_to_is_cut_off() {
        assert!(is_cut_off(&[]).await);
        assert!(is_cut_off(&[b"PRI * HT"]).await);
        assert!(is_cut_off(&[b"PRI * HTTP/2.0\r\n", b"\r\nSM\r\n"]).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_said_what_is_spoken_may_be_silent() {
        assert!(!is_cut_off(&[b"GET / HTTP/1.1\r\n"]).await);
        assert!(!is_cut_off(&[b"PRIVATE"]).await);
        assert!(!is_cut_off(&[HTTP2_PREFACE]).await);
        assert!(!is_cut_off(&[&HTTP2_PREFACE[..9], &HTTP2_PREFACE[9..]]).await);
    }
}
