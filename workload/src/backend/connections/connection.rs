//! One connection, driven by whoever has it: the task that asks also writes and reads. Were there another one for that, each request would cost two changes
//! of tasks, and often the waking of a thread.

use super::alarm::Alarm;
use bytes::Bytes;
use futures::task::noop_waker_ref;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// What goes over the network.
pub(super) type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
/// What writes and reads when it is polled.
type Driver = http1::Connection<Stream, Full<Bytes>>;

/// Most times in a row that a connection is driven on because something happened meanwhile; then it is others' turn.
const MOST_TURNS: usize = 8;
/// How long one is used, seconds; each by up to a quarter less, so that not all of a busy hour end at once. A name may stand for other servers by then, and
/// what balances connections has others to give.
const MOST_SECONDS: u64 = 60;
/// How long a server may take to hear that a connection is closed, seconds.
const FAREWELL_SECONDS: u64 = 1;

/// A connection over HTTP/1.1, which does nothing unless it is asked, or an answer of it is read.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Nothing once it is over.
    driver: Option<Driver>,
    alarm: Arc<Alarm>,
    waker: Waker,
    /// From when on it does not wait for another request.
    until: Instant,
}

/// A request that was not answered.
pub(super) struct Unanswered {
    /// The request, where nothing of it was sent.
    pub(super) unsent: Option<Request<Full<Bytes>>>,
    pub(super) error: hyper::Error,
}

impl Connection {
    /// On a stream that is open.
    pub(super) async fn over(stream: Stream) -> hyper::Result<Self> {
        let (sender, driver) = http1::handshake(stream).await?;
        let alarm = Arc::<Alarm>::default();
        let most = Duration::from_secs(MOST_SECONDS);
        let until = Instant::now() + most.mul_f64(1.0 - fastrand::f64() / 4.0);
        Ok(Self { sender, driver: Some(driver), waker: Arc::clone(&alarm).into(), alarm, until })
    }

    /// Sends a request, and gives what begins to be answered.
    pub(super) async fn ask(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let answered = poll_fn(|context| self.drive(context, |context| answer.as_mut().poll(context))).await;
        answered.map_err(|mut error| Unanswered { unsent: error.take_message(), error: error.into_error() })
    }

    /// Writes and reads until there is what is wanted, or has to be waited for. What is wanted must come to an end when the connection does.
    pub(super) fn drive<T>(
        &mut self,
        context: &mut Context<'_>,
        mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.alarm.belongs_to(context.waker());
        for _ in 0..MOST_TURNS {
            self.alarm.mute();
            let mut own = Context::from_waker(&self.waker);
            if let Poll::Ready(there) = wanted(&mut own) {
                return Poll::Ready(there);
            }
            // What comes of this for what is wanted rings.
            turn(&mut self.driver, &mut own);
            if self.alarm.arm() {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether it has been used for long enough.
    pub(super) fn is_old(&self, now: Instant) -> bool {
        now >= self.until
    }

    /// Whether another request can be sent on it, as far as is known without waiting.
    pub(super) fn is_free(&mut self) -> bool {
        if !self.sender.is_ready() {
            // Its answer was read to the end, of which it may know only when it looks.
            turn(&mut self.driver, &mut Context::from_waker(noop_waker_ref()));
        }
        self.driver.is_some() && self.sender.is_ready()
    }

    #[cfg(test)]
    pub(super) fn is_open(&mut self) -> bool {
        turn(&mut self.driver, &mut Context::from_waker(noop_waker_ref()));
        self.driver.is_some()
    }

    /// Takes leave of the server, which over TLS is told.
    pub(super) async fn close(self: Box<Self>) {
        let Self { sender, driver, .. } = *self;
        drop(sender);
        if let Some(driver) = driver {
            let _ = timeout(Duration::from_secs(FAREWELL_SECONDS), driver).await;
        }
    }
}

/// Does what can be done now.
fn turn(driver: &mut Option<Driver>, context: &mut Context<'_>) {
    if let Some(going) = driver
        && Pin::new(going).poll(context).is_ready()
    {
        // With it all ends that is waited for.
        *driver = None;
    }
}
