//! Limits for the time that a client of HTTP/1 takes for the head of a request it has begun, and for the time in which it asks for nothing.
//!
//! The server below has one limit for both, and what is right for one is wrong for the other: a balancer in front keeps its connections for
//! minutes, and is refused a request that it sends just when its connection is closed; a head is there at once, or never.

use hyper::rt::{Sleep as HyperSleep, Timer};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// Longest time between two requests, seconds: a little more than what balancers keep connections for, of which 600 s are the longest known.
pub(super) const MAX_IDLE_SECONDS: u64 = 620;

/// Told whenever a client has said something.
#[derive(Clone, Default)]
pub(super) struct Ear(Arc<AtomicBool>);

impl Ear {
    pub(super) fn hear(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn has_heard(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn forget(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The clock of one connection, which its server asks when it begins to wait for a head.
pub(super) struct Heads {
    /// Longest time for a head, once begun.
    limit: Duration,
    ear: Ear,
    /// Places of connections. Whoever becomes idle while fewer than half are left does not keep its own for longer than a head may take.
    slots: Arc<Semaphore>,
    most_slots: usize,
    /// Cancelled when the service ends: then nobody has longer than for a head.
    stop: CancellationToken,
}

impl Heads {
    pub(super) fn within(
        limit: Duration,
        ear: Ear,
        (slots, most_slots): (Arc<Semaphore>, usize),
        stop: CancellationToken,
    ) -> Self {
        Self { limit, ear, slots, most_slots, stop }
    }

    fn are_slots_scarce(&self) -> bool {
        self.slots.available_permits() < self.most_slots / 2
    }
}

impl Timer for Heads {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn HyperSleep>> {
        self.sleep_until(self.now() + duration)
    }

    /// The limit that the server knows is that of silence.
    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn HyperSleep>> {
        let until = if self.are_slots_scarce() { sleep(self.limit) } else { sleep_until(deadline.into()) };
        self.ear.forget();
        let (limit, ear, stop) = (self.limit, self.ear.clone(), self.stop.clone());
        Box::pin(Waiting { limit, ear, stop, until: Box::pin(until), is_begun: false })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }
}

/// A wait for a head.
struct Waiting {
    limit: Duration,
    ear: Ear,
    stop: CancellationToken,
    until: Pin<Box<Sleep>>,
    is_begun: bool,
}

impl Future for Waiting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Whoever ends the connections looks at each of them.
        if !self.is_begun && (self.ear.has_heard() || self.stop.is_cancelled()) {
            self.is_begun = true;
            self.until = Box::pin(sleep(self.limit));
        }
        self.until.as_mut().poll(cx)
    }
}

impl HyperSleep for Waiting {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::first_words::listen;
    use http_body_util::Empty;
    use hyper::body::Bytes;
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use hyper_util::server::conn::auto;
    use hyper_util::server::graceful::GracefulShutdown;
    use std::convert::Infallible;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    const LIMIT: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(MAX_IDLE_SECONDS);
    const SECOND: Duration = Duration::from_secs(1);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n";

    /// A client of a server that answers with nothing.
    fn connect(most_slots: usize) -> DuplexStream {
        connect_until(most_slots, CancellationToken::new())
    }

    /// The same, until it is stopped.
    fn connect_until(most_slots: usize, stop: CancellationToken) -> DuplexStream {
        let (client, server) = duplex(1024);
        let ear = Ear::default();
        let slots = (Arc::new(Semaphore::new(1)), most_slots);
        let heads = Heads::within(LIMIT, ear.clone(), slots, stop.clone());
        let answer =
            service_fn(async |_: Request<_>| Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())));
        tokio::spawn(async move {
            let (_, stream) = listen(LIMIT, server, ear).await.unwrap();
            let stream = TokioIo::new(stream);
            let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
            builder.http1().timer(heads).header_read_timeout(IDLE);
            let graceful = GracefulShutdown::new();
            let connection = graceful.watch(builder.serve_connection(stream, answer).into_owned());
            let connection = tokio::spawn(connection);
            stop.cancelled().await;
            graceful.shutdown().await;
            let _ = connection.await;
        });
        client
    }

    async fn ask(client: &mut DuplexStream) {
        client.write_all(REQUEST).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0, "the connection is closed");
        }
    }

    /// How long the server lets a client be that says nothing more.
    async fn patience(mut client: DuplexStream) -> Duration {
        let begin = tokio::time::Instant::now();
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
        begin.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_now_and_then_keeps_the_connection_as_long_as_a_balancer_would() {
        let mut client = connect(1);
        for _ in 0..3 {
            ask(&mut client).await;
            sleep(IDLE - SECOND).await;
        }
        ask(&mut client).await;
        assert_eq!(patience(client).await, IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn who_begins_a_head_has_little_time_to_end_it() {
        let mut client = connect(1);
        ask(&mut client).await;
        sleep(IDLE - SECOND).await;
        client.write_all(&REQUEST[..20]).await.unwrap();
        assert_eq!(patience(client).await, LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn so_has_who_begins_the_first_one() {
        for begun in [1, 20] {
            let mut client = connect(1);
            client.write_all(&REQUEST[..begun]).await.unwrap();
            assert_eq!(patience(client).await, LIMIT);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_holds_up_the_end_for_longer_than_a_head_may_take() {
        let stop = CancellationToken::new();
        let mut client = connect_until(1, stop.clone());
        // Half of a second head comes with the first one.
        client.write_all(&[REQUEST, &REQUEST[..20]].concat()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            client.read_buf(&mut answer).await.unwrap();
        }
        sleep(LIMIT * 2).await;
        stop.cancel();
        assert!(patience(client).await <= LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_comes_in_drops_is_not_waited_for_any_longer() {
        let mut client = connect(1);
        ask(&mut client).await;
        client.write_all(&REQUEST[..4]).await.unwrap();
        sleep(LIMIT - SECOND).await;
        client.write_all(&REQUEST[4..8]).await.unwrap();
        assert_eq!(patience(client).await, SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_nothing_gives_way_where_places_are_scarce() {
        let mut client = connect(4);
        ask(&mut client).await;
        assert_eq!(patience(client).await, LIMIT);
    }
}
