//! The life of the service: read, listen, follow changes, stop.

use crate::backend::Engines;
use crate::cli::ServeArguments;
use crate::configuration::{self, Configuration, Folders};
use crate::http::{Listener, Service, Shutdown, admin_router, public_router};
use crate::snapshot::Snapshot;
use crate::telemetry::{LogControl, Metrics};
use anyhow::Context as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Time for requests in flight after the last connection was accepted, seconds.
const GRACE_SECONDS: u64 = 20;

/// Follows one configuration directory.
struct Follower {
    folders: Folders,
    engines: Engines,
    service: Service,
    logging: LogControl,
    /// What the last refusal said: the same one is not told again at every poll.
    last_refusal: Option<String>,
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
    // Fails only if another provider was installed, which is then used.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folders = Folders::new(&arguments.config);
    let engines = Engines::default();
    let metrics = Arc::new(Metrics::new()?);
    let snapshot = Snapshot::build(Configuration::read(&folders)?, None, &engines)?;
    announce(&snapshot, &metrics, &logging);
    let service = Service::new(snapshot, metrics);

    let public = Listener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let admin = Listener::bind(arguments.admin_listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.admin_listen))?;
    tracing::info!(public = %public.local_address()?, admin = %admin.local_address()?, "listening");

    let mut follower =
        Follower { folders: folders.clone(), engines, service: service.clone(), logging, last_refusal: None };
    let shutdown = Shutdown { stop: CancellationToken::new(), grace: Duration::from_secs(GRACE_SECONDS) };
    let stopped = {
        let shutdown = shutdown.clone();
        let service = service.clone();
        async move {
            let serving = public.serve(public_router(service.clone()), service.clone(), shutdown.clone());
            stop_on_signal(&service, &shutdown, arguments.drain_seconds, serving, signals).await
        }
    };
    // Probes and metrics answer until the very end.
    let admin = admin.serve(
        admin_router(service.clone()),
        service,
        Shutdown { stop: CancellationToken::new(), grace: Duration::ZERO },
    );
    tokio::select! {
        stopped = stopped => stopped,
        () = admin => anyhow::bail!("the admin listener ended"),
        followed = configuration::watch(&folders, || follower.follow()) => followed,
    }
}

async fn stop_on_signal(
    service: &Service,
    shutdown: &Shutdown,
    drain_seconds: u64,
    serving: impl Future<Output = ()>,
    mut signals: EndSignals,
) -> anyhow::Result<()> {
    tokio::pin!(serving);
    tokio::select! {
        () = &mut serving => anyhow::bail!("the public listener ended"),
        () = signals.received() => {}
    }
    tracing::info!("stopping");
    service.start_draining();
    // Still accepting: clients that have not heard of our end yet are served.
    tokio::select! {
        () = &mut serving => {}
        () = tokio::time::sleep(Duration::from_secs(drain_seconds)) => {}
    }
    shutdown.stop.cancel();
    serving.await;
    tracing::info!("stopped");
    Ok(())
}

impl Follower {
    fn follow(&mut self) {
        match self.try_follow() {
            Ok(()) => self.last_refusal = None,
            Err(error) => {
                let refusal = error.to_string();
                if self.last_refusal.as_ref() != Some(&refusal) {
                    tracing::error!(reason = refusal, serving = %self.service.snapshot().bundle.revision(), "configuration refused");
                    self.service.metrics().refused();
                    self.last_refusal = Some(refusal);
                }
            }
        }
    }

    fn try_follow(&self) -> anyhow::Result<()> {
        let configuration = Configuration::read(&self.folders)?;
        let current = self.service.snapshot();
        if !current.is_outdated(&configuration) {
            self.service.metrics().configuration_stale.set(0);
            return Ok(());
        }
        let snapshot = Snapshot::build(configuration, Some(&current), &self.engines)?;
        announce(&snapshot, self.service.metrics(), &self.logging);
        self.service.replace_snapshot(snapshot);
        Ok(())
    }
}

fn announce(snapshot: &Snapshot, metrics: &Metrics, logging: &LogControl) {
    let revision = snapshot.bundle.revision().to_string();
    logging.set(snapshot.bundle.policy().observability.log_level);
    metrics.applied(&revision);
    tracing::info!(revision, hash = snapshot.bundle.hash(), "configuration applied");
}
