//! The life of the service: read, listen, follow changes, stop.

use crate::configuration::{Folders, Follower};
use crate::descriptors;
use crate::http::{Listener, PAUSES, Shutdown, admin_router, keep_warm, public_router, status_router};
use crate::service::Service;
use crate::telemetry::{LogControl, Metrics};
use anyhow::Context as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Time in which what was counted and kept last reaches the store for limits and the disk, seconds.
const SETTLE_SECONDS: u64 = 2;

/// What `workload serve` needs.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArguments {
    /// The configuration directory.
    #[arg(long)]
    pub config: PathBuf,
    /// Address of the public API.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Encrypts the public API with the certificate in `public-certificate` of the configuration directory, or with that in
    /// `certificate` if there is none.
    #[arg(long)]
    pub tls: bool,
    /// A folder in which answers are kept beside memory, and which nothing else uses.
    #[arg(long, requires = "cache_bytes")]
    pub cache_folder: Option<PathBuf>,
    /// How much of it, bytes.
    #[arg(long, requires = "cache_folder")]
    pub cache_bytes: Option<usize>,
    /// Address of probes and metrics.
    #[arg(long, default_value = "127.0.0.1:9090")]
    pub admin_listen: SocketAddr,
    /// Address where whoever the certificate's authority vouches for may ask what was applied.
    #[arg(long)]
    pub status_listen: Option<SocketAddr>,
    /// Seconds between the signal to stop and the end of accepting, in which load balancers forget us.
    #[arg(long, default_value_t = 0)]
    pub drain_seconds: u64,
    /// Seconds after that in which answers under way may end by themselves; then their clients are told, and the process ends within 7
    /// seconds.
    #[arg(long, default_value_t = 20)]
    pub grace_seconds: u64,
}

/// The signals that end the service.
struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl EndSignals {
    fn catch() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Serves until a signal ends it, or a part of it fails.
pub async fn run(arguments: ServeArguments, logging: LogControl) -> anyhow::Result<()> {
    // Before anything else: a signal that nobody catches ends the process without a goodbye.
    let signals = EndSignals::catch()?;
    descriptors::raise_limit();
    // Fails only if another provider was installed, which is then used.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let follower = Follower::start(Folders::new(&arguments.config), arguments.tls, logging, Metrics::new()?)?;
    let service = follower.service();
    let mut public = bind(arguments.listen).await?;
    if arguments.tls {
        // A replica that can show nothing can serve nobody.
        anyhow::ensure!(service.public_certificate().is_some(), "there is no certificate to show to clients");
        let service = service.clone();
        public = public.encrypted(Arc::new(move || service.public_certificate()));
    }
    let admin = bind(arguments.admin_listen).await?;
    tracing::info!(public = %public.local_address()?, tls = arguments.tls, admin = %admin.local_address()?, "listening");
    let disk = open_disk(&service, arguments.cache_folder.zip(arguments.cache_bytes));
    // Probes, metrics and status answer until the very end.
    let admin = admin.serve(admin_router(service.clone()), None, Shutdown::never());
    let status = serve_status(arguments.status_listen, service.clone());
    let drain = Duration::from_secs(arguments.drain_seconds);
    let shutdown = Shutdown {
        stop: CancellationToken::new(),
        grace: Duration::from_secs(arguments.grace_seconds),
        farewell: service.farewell().clone(),
    };
    // Whichever part ends first ends the others.
    tokio::select! {
        stopped = serve_until_stopped(public, service, disk, (drain, shutdown), signals) => stopped,
        () = admin => anyhow::bail!("the admin listener ended"),
        ended = status => ended,
        followed = follower.follow() => followed,
    }
}

/// Never ends while there is nobody to tell.
async fn serve_status(listen: Option<SocketAddr>, service: Service) -> anyhow::Result<()> {
    let Some(address) = listen else { return std::future::pending().await };
    let certificate = {
        let service = service.clone();
        Arc::new(move || service.certificate())
    };
    let listener = bind(address).await?.encrypted(certificate);
    tracing::info!(status = %listener.local_address()?, "telling what was applied");
    listener.serve(status_router(service), None, Shutdown::never()).await;
    anyhow::bail!("the status listener ended")
}

/// Begins to keep answers on the disk too, if there is one: what is there already need not be found before anybody is served. Tells when that was tried.
fn open_disk(service: &Service, disk: Option<(PathBuf, usize)>) -> oneshot::Receiver<()> {
    let (tried, was_tried) = oneshot::channel();
    if let Some((folder, bytes)) = disk {
        let service = service.clone();
        tokio::spawn(async move { service.cache().keep_disk(&folder, bytes, tried).await });
    }
    was_tried
}

async fn bind(address: SocketAddr) -> anyhow::Result<Listener> {
    Listener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

async fn serve_until_stopped(
    public: Listener,
    service: Service,
    disk: oneshot::Receiver<()>,
    (drain, shutdown): (Duration, Shutdown),
    mut signals: EndSignals,
) -> anyhow::Result<()> {
    let connections = service.metrics().connections.clone();
    let serving = public.serve(public_router(service.clone()), Some(connections), shutdown.clone());
    tokio::pin!(serving);
    let warming = AbortOnDropHandle::new(tokio::spawn(keep_warm(service.clone(), disk, &PAUSES)));
    tokio::select! {
        () = &mut serving => anyhow::bail!("the public listener ended"),
        () = signals.received() => {}
    }
    tracing::info!("stopping");
    service.start_draining();
    // What nobody waits for ends now.
    drop(warming);
    // Still accepting: clients that have not heard of our end yet are served.
    tokio::select! {
        () = &mut serving => {}
        () = tokio::time::sleep(drain) => {}
    }
    shutdown.stop.cancel();
    serving.await;
    if timeout(Duration::from_secs(SETTLE_SECONDS), service.settle()).await.is_err() {
        tracing::warn!("not all reached the store for limits, the collector of traces or the disk");
    }
    tracing::info!("stopped");
    Ok(())
}
