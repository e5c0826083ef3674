//! The command line.

use crate::configuration::Folders;
use crate::serve::ServeArguments;
use crate::{configuration, huge_pages, serve, telemetry};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

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
                let logging = telemetry::install_logging();
                huge_pages::do_without();
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
                let served = runtime.block_on(serve::run(arguments, logging.clone()));
                // Requests that are cut off now have lines as well.
                drop(runtime);
                logging.finish();
                served
            }
        }
    }
}
