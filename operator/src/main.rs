//! The operator's entry point.

use clap::Parser;
use codecrucible_operator::cli::Cli;

fn main() -> anyhow::Result<()> {
    Cli::parse().run()
}
