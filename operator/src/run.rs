//! What runs for as long as the process lives.

use crate::connection::connect;
use crate::leader::{Fence, Identity};
use crate::telemetry::{self, Metrics};
use crate::{controller, leader, memory};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// What a process is told.
pub(crate) struct Settings {
    /// Where probes and metrics are served.
    pub(crate) listen: SocketAddr,
    pub(crate) identity: Identity,
    /// The only namespace that is watched; all, if it is none.
    pub(crate) watched_namespace: Option<String>,
    /// Reconciles that run at once.
    pub(crate) concurrency: u16,
    /// Largest part of all services that is acted on within a while, percent.
    pub(crate) fuse_percent: u8,
}

/// Runs until a signal, the loss of leadership or an error ends it.
pub(crate) async fn run(settings: Settings) -> anyhow::Result<()> {
    let Settings { listen, identity, watched_namespace, concurrency, fuse_percent } = settings;
    let fence = Fence::new(Instant::now());
    let client = connect(&fence).await?;
    let metrics = Arc::new(Metrics::new()?);
    let controlled = controller::Settings {
        namespace: identity.namespace.clone(),
        watched_namespace,
        concurrency,
        fuse_percent,
    };
    let leading = async {
        let lease = leader::acquire(&client, &identity, fence).await?;
        metrics.leader.set(1);
        tracing::info!(holder = identity.holder, "leading");
        // Whichever ends first ends the other: nothing is written without the lease.
        tokio::select! {
            biased;
            lost = lease.keep() => Err(anyhow::anyhow!("the lease was lost: {lost}")),
            ended = controller::run(client.clone(), metrics.clone(), controlled) => ended,
        }
    };
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let ended = tokio::select! {
        ended = leading => ended,
        served = telemetry::serve(listen, metrics.clone()) => served,
        never = memory::give_back() => match never {},
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    // Nothing writes any more: the next one need not wait until the lease expires.
    leader::release(&client, &identity).await;
    ended
}
