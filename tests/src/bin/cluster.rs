//! A real cluster on one machine: `cluster up`, `down`, `status`, `load-image`, `kubectl`.
#![allow(clippy::print_stdout, reason = "a command-line tool")]

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use codecrucible_tests::cluster::{Cluster, forward, prepare, prepare_tests};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

#[derive(Parser)]
#[command(about, version)]
struct Cli {
    /// Name of the cluster; two of different names can run side by side.
    #[arg(long, default_value = "codecrucible", global = true)]
    name: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install and build what a cluster needs, without starting one.
    Prepare {
        /// What else tests need, too.
        #[arg(long)]
        tests: bool,
    },
    /// Start the cluster, or find it running.
    Up,
    /// Remove the cluster and all its traces.
    Down,
    /// Show what runs.
    Status,
    /// Load an image archive into the node.
    LoadImage {
        /// The archive.
        archive: PathBuf,
    },
    /// Run kubectl against the cluster.
    #[command(trailing_var_arg = true, allow_hyphen_values = true)]
    Kubectl {
        /// kubectl's arguments.
        arguments: Vec<OsString>,
    },
    /// Carry connections from loopback into the cluster's network namespace.
    #[command(hide = true)]
    Forward {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        namespace: PathBuf,
        #[arg(long)]
        target: SocketAddr,
    },
}

fn main() -> anyhow::Result<()> {
    let Cli { name, command } = Cli::parse();
    match command {
        Command::Prepare { tests } => {
            if tests {
                prepare_tests()
            } else {
                prepare()
            }
        }
        Command::Up => {
            let cluster = Cluster::up(&name)?;
            println!("KUBECONFIG={}", cluster.kubeconfig().display());
            Ok(())
        }
        Command::Down => Cluster::down(&name),
        Command::Status => {
            print!("{}", Cluster::attach(&name)?.status()?);
            Ok(())
        }
        Command::LoadImage { archive } => Cluster::attach(&name)?.load_image(&archive),
        Command::Kubectl { arguments } => {
            Err(Cluster::attach(&name)?.kubectl()?.args(arguments).exec()).context("kubectl does not start")
        }
        Command::Forward { listen, namespace, target } => forward::run(listen, &namespace, target),
    }
}
