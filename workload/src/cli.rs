//! The command line.

use crate::configuration::Folders;
use crate::serve::ServeArguments;
use crate::telemetry::LastLines;
use crate::{configuration, huge_pages, serve, telemetry};
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// Longest time that work on threads of its own may take after the end, seconds.
const SHUTDOWN_SECONDS: u64 = 1;

/// The code-synthesis service.
#[derive(Debug, Parser)]
#[command(name = "workload", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve from a configuration directory.
    Serve(ServeArguments),
    /// Compile a policy, as JSON on standard input, into the bundle of a configuration directory.
    Compile {
        /// The configuration directory.
        #[arg(long)]
        config: PathBuf,
    },
    /// Make the signing key and the client's credentials that a configuration directory lacks.
    Init {
        /// The configuration directory.
        #[arg(long)]
        config: PathBuf,
    },
}

impl Cli {
    /// Runs the command to its end.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Compile { config } => {
                configuration::compile(&Folders::new(&config), std::io::stdin().lock())
            }
            Command::Init { config } => configuration::initialize(&Folders::new(&config)),
            Command::Serve(arguments) => {
                let logging = telemetry::install_logging()?;
                // Last, also where the rest fails: requests that are cut off have lines as well.
                let _last_lines = LastLines;
                huge_pages::do_without();
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
                let served = runtime.block_on(serve::run(arguments, logging));
                runtime.shutdown_timeout(Duration::from_secs(SHUTDOWN_SECONDS));
                served
            }
        }
    }
}
