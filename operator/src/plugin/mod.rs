//! `kubectl crucible`: what people ask of a service, and what they do to its policy. It reads what the operator wrote, and
//! decides with the operator's own code what a change would do.

mod doctor;
mod paint;
mod plan;
mod policy;
mod status;
mod top;
mod view;

pub(crate) use paint::Paint;
pub(crate) use plan::rendered;

use crate::dry_run::dry_run;
use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use codecrucible_crds::CodeCrucible;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

/// Looks after CodeCrucible services.
#[derive(Debug, Parser)]
#[command(name = "kubectl-crucible", bin_name = "kubectl crucible", version)]
pub struct Cli {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

/// Where to look.
#[derive(Debug, Args)]
struct Target {
    /// Namespace of the services; that of the context, if it is not given.
    #[arg(short, long, global = true)]
    namespace: Option<String>,
    /// The kubeconfig's context.
    #[arg(long, global = true)]
    context: Option<String>,
    /// The kubeconfig file.
    #[arg(long, global = true)]
    kubeconfig: Option<PathBuf>,
    /// Namespace of the operator.
    #[arg(long, global = true, default_value = "codecrucible-system")]
    operator_namespace: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A service with its pods, the policy that each runs, and its backends.
    Status {
        /// Name of the service; all of the namespace, if it is not given.
        name: Option<String>,
        /// Goes on, with a line for each change.
        #[arg(short, long)]
        watch: bool,
        /// The form of the answer.
        #[arg(short, long, value_enum, default_value_t = Output::Tree)]
        output: Output,
    },
    /// What a change would write, and whether pods restart for it. Writes nothing.
    Plan {
        /// A file with the changed CodeCrucible. If it is not given: what an operator of this version would write for the
        /// services of the namespace as they are.
        #[arg(short, long)]
        filename: Option<PathBuf>,
    },
    /// The policies that a service was given.
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// What the pods use.
    Top {
        /// Name of the service.
        name: String,
    },
    /// Finds what is wrong, and says what to do about it.
    Doctor,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Those that are kept, the newest first.
    History {
        /// Name of the service.
        name: String,
    },
    /// What differs between two of them.
    Diff {
        /// Name of the service.
        name: String,
        /// The revision before.
        from: String,
        /// The revision after; the newest, if it is not given.
        to: Option<String>,
    },
    /// What the Cedar policies of an AccessPolicy may speak of.
    Schema,
    /// Holds a service at one of them.
    Rollback {
        /// Name of the service.
        name: String,
        /// The revision; `none` lets the service follow its resource again.
        revision: String,
    },
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Tree,
    /// For programs.
    Json,
}

impl Target {
    async fn client(&self) -> anyhow::Result<(Client, String)> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = match &self.kubeconfig {
            Some(file) => Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &options).await?,
            None if self.context.is_some() => Config::from_kubeconfig(&options).await?,
            None => Config::infer().await?,
        };
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        Ok((Client::try_from(config)?, namespace))
    }
}

impl Cli {
    /// Does what it was told to.
    pub fn run(self) -> anyhow::Result<()> {
        // Fails only if another provider was installed, which is then used.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.act())
    }

    async fn act(self) -> anyhow::Result<()> {
        let Self { target, command } = self;
        let (client, namespace) = target.client().await.context("no access to the API server")?;
        let has_colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let paint = Paint::new(has_colour);
        let api: Api<CodeCrucible> = Api::namespaced(client.clone(), &namespace);
        match command {
            Command::Status { name, watch: true, .. } => {
                status::watch(&client, &namespace, name.as_deref(), paint).await
            }
            Command::Status { name, output, .. } => {
                say(&status::show(&client, &namespace, name.as_deref(), output, paint).await?)
            }
            Command::Plan { filename: None } => {
                dry_run(&client, &target.operator_namespace, Some(&namespace), paint, say).await
            }
            Command::Plan { filename: Some(filename) } => {
                say(&plan::plan(&client, &namespace, &target.operator_namespace, &filename, paint).await?)
            }
            Command::Policy { command } => {
                let text = match command {
                    PolicyCommand::Schema => Ok(codecrucible_contract::ACCESS_SCHEMA.to_owned()),
                    PolicyCommand::History { name } => policy::history(&client, &api, &name, paint).await,
                    PolicyCommand::Diff { name, from, to } => {
                        policy::diff(&client, &api, &name, &from, to.as_deref(), paint).await
                    }
                    PolicyCommand::Rollback { name, revision } => {
                        policy::rollback(&client, &api, &name, &revision).await
                    }
                };
                say(&text?)
            }
            Command::Top { name } => say(&top::top(&client, &api, &name).await?),
            Command::Doctor => {
                let findings = doctor::look(&client, &namespace, &target.operator_namespace).await?;
                say(&doctor::render(&findings, paint))?;
                anyhow::ensure!(findings.is_empty(), "{} found", findings.len());
                Ok(())
            }
        }
    }
}

/// Tells the person who asked. One who has gone away hears nothing, which is no fault.
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
