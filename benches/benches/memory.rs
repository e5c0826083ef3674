//! Memory of an idle service without a model: the program that is in the image, on the sample's policy.
#![allow(clippy::print_stdout, reason = "benchmarks print their figures")]

use anyhow::{Context as _, ensure};
use codecrucible_benches::policy;
use codecrucible_tests::{product, wait};
use codecrucible_workload::configuration::{Folders, compile, initialize};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Resident memory that an idle service may have, megabytes.
const BUDGET_MEGABYTES: f64 = 40.0;
/// Longest wait for the service, seconds.
const LIMIT_SECONDS: u64 = 30;

fn main() -> anyhow::Result<()> {
    product::build()?;
    let folder = std::env::temp_dir().join(format!("codecrucible-memory-{}", std::process::id()));
    let folders = Folders::new(&folder);
    initialize(&folders)?;
    let nobody = ([127, 0, 0, 1], 9).into();
    compile(&folders, serde_json::to_vec(&policy(nobody))?.as_slice())?;
    let mut service = Command::new(product::WORKLOAD.path())
        .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--config"])
        .arg(&folder)
        .stdout(Stdio::piped())
        .spawn()?;
    let measured = resident_megabytes(&mut service);
    service.kill()?;
    service.wait()?;
    std::fs::remove_dir_all(&folder)?;
    println!("workload: {:.1} MB idle, without a model (budget {BUDGET_MEGABYTES:.0} MB)", measured?);
    Ok(())
}

/// What the service itself tells once it is ready.
fn resident_megabytes(service: &mut std::process::Child) -> anyhow::Result<f64> {
    let mut lines = BufReader::new(service.stdout.take().context("no output")?).lines();
    let admin = loop {
        let line: serde_json::Value = serde_json::from_str(&lines.next().context("the service ended")??)?;
        if let Some(admin) = line["admin"].as_str() {
            break format!("http://{admin}");
        }
    };
    wait::until("a ready service", Duration::from_secs(LIMIT_SECONDS), || {
        Ok(reqwest::blocking::get(format!("{admin}/readyz"))?.status().is_success())
    })?;
    let metrics = reqwest::blocking::get(format!("{admin}/metrics"))?.text()?;
    let bytes =
        metrics.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes ")?.parse().ok());
    let bytes: f64 = bytes.context("no memory in the metrics")?;
    ensure!(bytes > 0.0, "the metrics say nothing about memory");
    Ok(bytes / 1e6)
}
