//! The operator's entry point.

use clap::Parser;
use codecrucible_operator::cli::Cli;

/// The C library's allocator, which a static build would use, keeps far more memory than it needs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    Cli::parse().run()
}
