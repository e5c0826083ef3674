//! The service's entry point.

use clap::Parser;
use codecrucible_workload::cli::Cli;

/// Many small allocations of many threads: measurably cheaper here than with the C library's allocator,
/// which a static build would use.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    #[cfg(feature = "embedded-engine")]
    codecrucible_engine::prepare_process();
    Cli::parse().run()
}
