//! The command line, and what runs for as long as the process lives.

use crate::leader::Identity;
use crate::telemetry::{self, Metrics};
use crate::{controller, leader};
use clap::Parser;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Longest silence of the API server in an answer, seconds: longer than a watch is let run.
const SILENCE_SECONDS: u64 = 330;

/// The CodeCrucible operator.
#[derive(Debug, Parser)]
#[command(name = "operator", version)]
pub struct Cli {
    /// Address of probes and metrics.
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// Namespace of the Lease that elects the leader.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    lease_namespace: String,
    /// Name in the Lease; must be unique among the operator's processes.
    #[arg(long, env = "POD_NAME", default_value_t = default_identity())]
    identity: String,
    /// Reconciles that run at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64))]
    concurrency: u16,
}

/// Process ids repeat from container to container.
fn default_identity() -> String {
    let mut random = [0_u8; 8];
    // Without randomness the process id must do.
    let _ = aws_lc_rs::rand::fill(&mut random);
    format!("operator-{}-{:016x}", std::process::id(), u64::from_be_bytes(random))
}

/// A client that waits for nothing for ever, and leaves it to us when to try again.
async fn client() -> anyhow::Result<kube::Client> {
    let mut config = kube::Config::infer().await?;
    config.read_timeout = Some(Duration::from_secs(SILENCE_SECONDS));
    config.reset_reader_on_write = true;
    config.default_retry = false;
    Ok(config.try_into()?)
}

impl Cli {
    /// Runs until a signal, the loss of leadership or an error ends it.
    pub fn run(self) -> anyhow::Result<()> {
        telemetry::install_logging();
        // Fails only if another provider was installed, which is then used.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // One thread: nearly all time is spent waiting, and each more would keep memory of its own.
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(self.run_until_stopped())
    }

    async fn run_until_stopped(self) -> anyhow::Result<()> {
        let client = client().await?;
        let metrics = Arc::new(Metrics::new()?);
        let identity = Identity { namespace: self.lease_namespace, holder: self.identity };
        let leading = async {
            let lease = leader::acquire(&client, &identity).await?;
            metrics.leader.set(1);
            tracing::info!(holder = identity.holder, "leading");
            // Whichever ends first ends the other: nothing is written without the lease.
            tokio::select! {
                lost = lease.keep() => Err(anyhow::anyhow!("the lease was lost: {lost}")),
                ended = controller::run(client.clone(), metrics.clone(), self.concurrency) => ended,
            }
        };
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let ended = tokio::select! {
            ended = leading => ended,
            served = telemetry::serve(self.listen, metrics.clone()) => served,
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        };
        // Nothing writes any more: the next one need not wait until the lease expires.
        leader::release(&client, &identity).await;
        ended
    }
}
