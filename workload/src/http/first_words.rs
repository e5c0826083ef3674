//! By a client's first words it is known which protocol it speaks, within a limit: without one, a client that says nothing would keep its place for ever.
//!
//! The server below can find out as well, but reads these words apart from the others, for which its buffer becomes twice as long as it has to be.

use super::heads::Ear;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::timeout;

/// What a client of HTTP/2 sends first (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    Http1,
    Http2,
}

/// A connection whose first words were heard. Whoever reads it hears them again, and what comes after them in one.
pub(super) struct Heard<S> {
    stream: S,
    /// Told of every word when it is read.
    ear: Ear,
    words: [u8; HTTP2_PREFACE.len()],
    unread: Range<usize>,
}

/// Listens until it is known what a client speaks. An error if it does not say so in time, or goes.
pub(super) async fn listen<S: AsyncRead + Unpin>(
    limit: Duration,
    mut stream: S,
    ear: Ear,
) -> io::Result<(Spoken, Heard<S>)> {
    let (mut words, mut heard) = ([0; HTTP2_PREFACE.len()], 0);
    let listening = async {
        loop {
            match stream.read(&mut words[heard..]).await? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                more => heard += more,
            }
            if words == *HTTP2_PREFACE {
                return Ok(Spoken::Http2);
            }
            if !HTTP2_PREFACE.starts_with(&words[..heard]) {
                return Ok(Spoken::Http1);
            }
        }
    };
    let spoken = timeout(limit, listening).await.map_err(|_elapsed| io::ErrorKind::TimedOut)??;
    Ok((spoken, Heard { stream, ear, words, unread: 0..heard }))
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let count = this.unread.len().min(buffer.remaining());
        let again = this.unread.start..this.unread.start + count;
        this.unread.start = again.end;
        buffer.put_slice(&this.words[again]);
        // Nothing that is read into a full buffer would look as if the client had gone.
        let read = match buffer.remaining() {
            0 => Poll::Ready(Ok(())),
            _ => Pin::new(&mut this.stream).poll_read(cx, buffer),
        };
        // Words that were heard are given before what ails the connection, which is its end then.
        let read = if count > 0 { Poll::Ready(Ok(())) } else { read };
        if read.is_ready() {
            this.ear.hear();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
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
    use tokio::io::{AsyncWriteExt as _, duplex};

    const LIMIT: Duration = Duration::from_secs(10);

    /// What a client speaks that says so, piece by piece, and all that is read of it then; nothing if it is not known in time.
    async fn heard(said: &[&[u8]]) -> Option<(Spoken, Vec<u8>)> {
        let (mut client, server) = duplex(1024);
        let listening = tokio::spawn(listen(LIMIT, server, Ear::default()));
        for words in said {
            client.write_all(words).await.unwrap();
            // Heard before there is more.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let listened = listening.await.unwrap();
        let (spoken, mut stream) = match listened {
            Ok(heard) => heard,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                return None;
            }
        };
        drop(client);
        let (mut all, mut few) = (Vec::new(), [0; 8]);
        loop {
            match stream.read(&mut few).await.unwrap() {
                0 => return Some((spoken, all)),
                count => all.extend_from_slice(&few[..count]),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_or_only_begins_to_is_cut_off() {
        assert_eq!(heard(&[]).await, None);
        assert_eq!(heard(&[b"PRI * HT"]).await, None);
        assert_eq!(heard(&[b"PRI * HTTP/2.0\r\n", b"\r\nSM\r\n"]).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_heard_to_tell_what_is_spoken_is_not_lost() {
        for said in
            [&[b"G".as_slice()][..], &[b"GET / HTTP/1.1\r\n", b"host: here\r\n\r\n"], &[b"PRI", b"VATE"]]
        {
            assert_eq!(heard(said).await, Some((Spoken::Http1, said.concat())));
        }
        for said in [&[HTTP2_PREFACE.as_slice()][..], &[&HTTP2_PREFACE[..9], &HTTP2_PREFACE[9..], b"more"]] {
            assert_eq!(heard(said).await, Some((Spoken::Http2, said.concat())));
        }
    }

    #[tokio::test]
    async fn first_words_are_read_with_those_that_came_with_them() {
        let (mut client, server) = duplex(1024);
        let request = b"GET /v1/models HTTP/1.1\r\nhost: here\r\n\r\n";
        client.write_all(request).await.unwrap();
        let (_, mut stream) = listen(LIMIT, server, Ear::default()).await.unwrap();
        let mut read = [0; 1024];
        assert_eq!(stream.read(&mut read).await.unwrap(), request.len());
    }

    #[tokio::test]
    async fn who_goes_without_a_word_is_not_waited_for() {
        let (client, server) = duplex(1024);
        drop(client);
        let error = listen(LIMIT, server, Ear::default()).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
