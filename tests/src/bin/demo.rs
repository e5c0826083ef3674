//! `demo up` shows the product, `demo down` removes it, `demo model` fetches the model files, `demo images`
//! builds the images.
#![allow(clippy::print_stdout, reason = "a command-line tool")]

use clap::{Parser, Subcommand};
use codecrucible_tests::cluster::Cluster;
use codecrucible_tests::{demo, model, product};

#[derive(Parser)]
#[command(about, version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// From nothing to a service that writes code.
    Up,
    /// Remove the cluster.
    Down,
    /// Fetch the model files.
    Model,
    /// Build the images' archives.
    Images,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Up => demo::up(),
        Command::Down => Cluster::down(demo::CLUSTER),
        Command::Model => {
            for file in [model::SMOLLM.fetch()?, model::QWEN.fetch()?] {
                println!("{}", file.display());
            }
            Ok(())
        }
        Command::Images => {
            product::build()?;
            for archive in product::write_images()? {
                println!("{}", archive.display());
            }
            Ok(())
        }
    }
}
