//! The command line.

use crate::check::check;
use crate::dry_run::dry_run;
use crate::leader::Identity;
use crate::plugin::{Paint, say};
use crate::run::{Settings, run};
use crate::telemetry;
use clap::{Parser, Subcommand};
use std::net::SocketAddr;

/// The CodeCrucible operator.
#[derive(Debug, Parser)]
#[command(name = "operator", version)]
pub struct Cli {
    /// Address of probes and metrics.
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// Namespace of the operator, and of the Lease that elects the leader: from there replicas may be asked what they
    /// applied.
    #[arg(long, global = true, env = "POD_NAMESPACE", default_value = "default")]
    lease_namespace: String,
    /// The only namespace whose resources count: then rights in that one are enough. All, if it is not given.
    #[arg(long, global = true)]
    watch_namespace: Option<String>,
    /// Name in the Lease; must be unique among the operator's processes.
    #[arg(long, env = "POD_NAME", default_value_t = default_identity())]
    identity: String,
    /// Reconciles that run at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64))]
    concurrency: u16,
    /// Largest part of all services whose replicas the operator replaces by itself within ten minutes, percent; two of
    /// them in any case, unless it is 0. When more go wrong at once, it holds back, and says so.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u8).range(0..=100))]
    fuse_percent: u8,
    /// Says what it would write for each service, and ends. Writes nothing.
    #[arg(long)]
    dry_run: bool,
    /// What to do instead of operating.
    #[command(subcommand)]
    instead: Option<Instead>,
}

#[derive(Debug, Subcommand)]
enum Instead {
    /// Succeeds when the API server serves the resources and an operator leads; waits up to a minute for that.
    Check,
}

/// Process ids repeat from container to container.
fn default_identity() -> String {
    let mut random = [0_u8; 8];
    // Without randomness the process id must do.
    let _ = aws_lc_rs::rand::fill(&mut random);
    format!("operator-{}-{:016x}", std::process::id(), u64::from_be_bytes(random))
}

impl Cli {
    /// Does what it was told to.
    pub fn run(self) -> anyhow::Result<()> {
        // Fails only if another provider was installed, which is then used.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // One thread: nearly all time is spent waiting, and each more would keep memory of its own.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ended = runtime.block_on(async {
            let traces = telemetry::install();
            let ended = self.act().await;
            if let Some(traces) = traces {
                traces.end().await;
            }
            ended
        });
        // A name that is still asked for must not hold up the end.
        runtime.shutdown_background();
        ended
    }

    async fn act(self) -> anyhow::Result<()> {
        let Self {
            listen,
            lease_namespace,
            watch_namespace,
            identity,
            concurrency,
            fuse_percent,
            dry_run: is_dry_run,
            instead,
        } = self;
        match instead {
            Some(Instead::Check) => {
                let holder = check(&lease_namespace, watch_namespace.as_deref()).await?;
                tracing::info!(holder, "the resources are served, and an operator leads");
                Ok(())
            }
            None if is_dry_run => {
                let client = kube::Client::try_default().await?;
                dry_run(&client, &lease_namespace, watch_namespace.as_deref(), Paint::new(false), say).await
            }
            None => {
                let identity = Identity { namespace: lease_namespace, holder: identity };
                run(Settings {
                    listen,
                    identity,
                    watched_namespace: watch_namespace,
                    concurrency,
                    fuse_percent,
                })
                .await
            }
        }
    }
}
