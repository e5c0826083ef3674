//! Accepts connections within limits, and ends them gracefully.

use super::first_words::{Heard, Spoken, listen};
use super::heads::{Ear, Heads, MAX_IDLE_SECONDS};
use super::slow_readers::SlowReaders;
use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use prometheus::IntGauge;
use rustls::ServerConfig;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

/// Connections open at once.
const MAX_CONNECTIONS: usize = 8_192;
/// Longest time in which a client may take nothing of what it is sent, seconds.
const MAX_STALL_SECONDS: u64 = 60;
/// Longest time that a client may take to send a request's head, seconds.
const MAX_HEAD_SECONDS: u64 = 10;
/// Longest head of a request over HTTP/1, in no more than the 100 headers that are the library's limit, bytes. More is refused with 431.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The same over HTTP/2, names and values with 32 bytes for each, bytes.
const MAX_HEADER_LIST_BYTES: u32 = 32 * 1024;
/// Requests under way at once on one connection of HTTP/2.
const MAX_CONCURRENT_STREAMS: u32 = 100;
/// Requests over one connection of HTTP/2 that its client has taken back and nobody has looked at yet; with one more it is closed.
const MAX_RESET_STREAMS: usize = 20;
/// What a client of HTTP/2 may send of one body, and of all on a connection, before it is read, bytes.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Time after which a silent connection of HTTP/2 is asked whether it is still there, seconds.
const PING_SECONDS: u64 = 30;
/// Time in which those whose answers are still under way are told that there will be no more, seconds.
const FAREWELL_SECONDS: u64 = 3;
/// Pause after the system refused to accept (it is out of descriptors), milliseconds.
const ACCEPT_PAUSE_MS: u64 = 50;

/// When to stop, and how long requests in flight may still take.
#[derive(Clone)]
pub struct Shutdown {
    /// Cancelled when no more connections are to be accepted.
    pub stop: CancellationToken,
    /// Time for requests in flight.
    pub grace: Duration,
    /// Cancelled when that is over: whoever still answers, tells that there will be no more.
    pub farewell: CancellationToken,
}

impl Shutdown {
    /// For what serves as long as the process lives.
    pub fn never() -> Self {
        Self { stop: CancellationToken::new(), grace: Duration::ZERO, farewell: CancellationToken::new() }
    }
}

/// Gives the server's side of a new connection; nothing while there is no certificate.
pub type Certificate = Arc<dyn Fn() -> Option<Arc<ServerConfig>> + Send + Sync>;

/// A connection, encrypted or not.
type Stream = Either<Socket, TlsStream<Socket>>;
type Socket = SlowReaders<TcpStream>;

/// A bound socket.
pub struct Listener {
    socket: TcpListener,
    certificate: Option<Certificate>,
}

impl Listener {
    /// Binds.
    pub async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await?, certificate: None })
    }

    /// Encrypts connections from now on. The certificate is looked up anew for each of them.
    pub fn encrypted(self, certificate: Certificate) -> Self {
        Self { certificate: Some(certificate), ..self }
    }

    /// Where it is bound.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until told to stop and the requests in flight have ended, or their time is over. Counts open
    /// connections in a gauge, if there is one.
    pub async fn serve(self, router: Router, connections: Option<IntGauge>, shutdown: Shutdown) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let graceful = GracefulShutdown::new();
        while let Some((stream, peer, slot)) = self.accept(&slots, &shutdown.stop).await {
            let counted = Counted::new(connections.clone());
            let (watcher, stop) = (graceful.watcher(), shutdown.stop.clone());
            let slots = (slots.clone(), MAX_CONNECTIONS);
            let certificate = self.certificate.clone();
            let routes = ToldOf { peer: Peer(peer.ip()), routes: TowerToHyperService::new(router.clone()) };
            tokio::spawn(async move {
                let (limit, ear) = (Duration::from_secs(MAX_HEAD_SECONDS), Ear::default());
                // What is over before the first request would otherwise take its room for as long as the connection is open.
                let heard = Box::pin(async { heard(greet(stream, certificate).await?, ear.clone()).await });
                if let Some(Some((spoken, stream))) = stop.run_until_cancelled(heard).await {
                    let server = server(spoken, Heads::within(limit, ear, slots, stop));
                    let connection = server.serve_connection(TokioIo::new(stream), routes).into_owned();
                    if let Err(error) = watcher.watch(connection).await {
                        tracing::debug!(error, "connection ended with an error");
                    }
                }
                drop((counted, slot));
            });
        }
        drop(self.socket);
        let ended = graceful.shutdown();
        tokio::pin!(ended);
        if timeout(shutdown.grace, &mut ended).await.is_ok() {
            return;
        }
        tracing::warn!("answers were still under way when their time to end was over");
        shutdown.farewell.cancel();
        if timeout(Duration::from_secs(FAREWELL_SECONDS), ended).await.is_err() {
            tracing::warn!("clients did not take their last words");
        }
    }

    /// The next connection and its slot, or `None` when it is time to stop.
    async fn accept(
        &self,
        slots: &Arc<Semaphore>,
        stop: &CancellationToken,
    ) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        loop {
            let next = async {
                let slot = slots.clone().acquire_owned().await.ok()?;
                Some((self.socket.accept().await, slot))
            };
            let accepted = stop.run_until_cancelled(next).await?;
            match accepted? {
                (Ok((stream, peer)), slot) => {
                    let _ = stream.set_nodelay(true);
                    return Some((stream, peer, slot));
                }
                (Err(error), _) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                }
            }
        }
    }
}

/// The other end of the connection that a request came over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Routes that find in each request where it came from.
struct ToldOf<S> {
    peer: Peer,
    routes: S,
}

impl<S: Service<Request<Incoming>>> Service<Request<Incoming>> for ToldOf<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<Incoming>) -> S::Future {
        request.extensions_mut().insert(self.peer);
        self.routes.call(request)
    }
}

/// One open connection in a gauge, also should its task panic.
struct Counted(Option<IntGauge>);

impl Counted {
    fn new(gauge: Option<IntGauge>) -> Self {
        gauge.iter().for_each(IntGauge::inc);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.iter().for_each(IntGauge::dec);
    }
}

/// The connection, once both sides know whom they speak with, if that is asked for.
async fn greet(stream: TcpStream, certificate: Option<Certificate>) -> Option<Stream> {
    let stream = SlowReaders::within(Duration::from_secs(MAX_STALL_SECONDS), stream);
    let Some(certificate) = certificate else { return Some(Either::Left(stream)) };
    let handshake = TlsAcceptor::from(certificate()?).accept(stream);
    match timeout(Duration::from_secs(MAX_HEAD_SECONDS), handshake).await.ok()? {
        Ok(stream) => Some(Either::Right(stream)),
        Err(error) => {
            tracing::debug!(%error, "a client is not let in");
            None
        }
    }
}

/// The connection, once it is known what its client speaks.
async fn heard(stream: Stream, ear: Ear) -> Option<(Spoken, Heard<Stream>)> {
    match listen(Duration::from_secs(MAX_HEAD_SECONDS), stream, ear).await {
        Ok(heard) => Some(heard),
        Err(error) => {
            tracing::debug!(%error, "a client has not said what it speaks");
            None
        }
    }
}

fn server(spoken: Spoken, heads: Heads) -> auto::Builder<TokioExecutor> {
    let server = auto::Builder::new(TokioExecutor::new());
    let mut server = match spoken {
        Spoken::Http1 => server.http1_only(),
        Spoken::Http2 => server.http2_only(),
    };
    server
        .http1()
        .timer(heads)
        .header_read_timeout(Duration::from_secs(MAX_IDLE_SECONDS))
        .max_buf_size(MAX_HEAD_BYTES);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(Some(Duration::from_secs(PING_SECONDS)));
    server
}
