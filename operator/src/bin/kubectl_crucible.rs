//! The kubectl plugin's entry point.

use clap::Parser;
use codecrucible_operator::plugin::Cli;

fn main() -> anyhow::Result<()> {
    Cli::parse().run()
}
