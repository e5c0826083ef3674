//! Memory of an idle service without a model: the program that is in the image, on the sample's policy.
#![allow(clippy::print_stdout, reason = "benchmarks print their figures")]

use anyhow::ensure;
use codecrucible_benches::{Program, metric, policy};

/// Resident memory that an idle service may have, megabytes.
const BUDGET_MEGABYTES: f64 = 40.0;

fn main() -> anyhow::Result<()> {
    let program = Program::start(&policy(([127, 0, 0, 1], 9).into()))?;
    let bytes = metric(&program.metrics()?, "process_resident_memory_bytes")?;
    ensure!(bytes > 0.0, "the metrics say nothing about memory");
    println!("workload: {:.1} MB idle, without a model (budget {BUDGET_MEGABYTES:.0} MB)", bytes / 1e6);
    Ok(())
}
