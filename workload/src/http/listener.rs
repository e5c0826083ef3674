//! Accepts connections within limits, and ends them gracefully.

use super::Service;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Connections open at once.
const MAX_CONNECTIONS: usize = 8_192;
/// Longest time that a client may take to send a request's head, seconds.
const MAX_HEAD_SECONDS: u64 = 10;
/// Pause after the system refused to accept (it is out of descriptors), milliseconds.
const ACCEPT_PAUSE_MS: u64 = 50;

/// When to stop, and how long requests in flight may still take.
#[derive(Clone)]
pub struct Shutdown {
    /// Cancelled when no more connections are to be accepted.
    pub stop: CancellationToken,
    /// Time for requests in flight.
    pub grace: Duration,
}

/// A bound socket.
pub struct Listener {
    socket: TcpListener,
}

impl Listener {
    /// Binds.
    pub async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await? })
    }

    /// Where it is bound.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until told to stop and the requests in flight have ended, or their time is over.
    pub async fn serve(self, router: Router, service: Service, shutdown: Shutdown) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let graceful = GracefulShutdown::new();
        let server = server();
        while let Some((stream, slot)) = self.accept(&slots, &shutdown.stop).await {
            let io = TokioIo::new(stream);
            let connection = server
                .serve_connection_with_upgrades(io, TowerToHyperService::new(router.clone()))
                .into_owned();
            let connection = graceful.watch(connection);
            let service = service.clone();
            tokio::spawn(async move {
                service.metrics().connections.inc();
                if let Err(error) = connection.await {
                    tracing::debug!(error, "connection ended with an error");
                }
                service.metrics().connections.dec();
                drop(slot);
            });
        }
        drop(self.socket);
        if tokio::time::timeout(shutdown.grace, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests were still running when their time to end was over");
        }
    }

    /// The next connection and its slot, or `None` when it is time to stop.
    async fn accept(
        &self,
        slots: &Arc<Semaphore>,
        stop: &CancellationToken,
    ) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        loop {
            let next = async {
                let slot = slots.clone().acquire_owned().await.ok()?;
                Some((self.socket.accept().await, slot))
            };
            let accepted = stop.run_until_cancelled(next).await?;
            match accepted? {
                (Ok((stream, _)), slot) => {
                    let _ = stream.set_nodelay(true);
                    return Some((stream, slot));
                }
                (Err(error), _) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                }
            }
        }
    }
}

fn server() -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(MAX_HEAD_SECONDS));
    server.http2().timer(TokioTimer::new());
    server
}
