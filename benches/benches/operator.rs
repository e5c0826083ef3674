//! Reconciles per second and memory of the operator with 500 resources, on a real API server.
#![allow(clippy::print_stdout, reason = "benchmarks print their figures")]

use anyhow::Context as _;
use codecrucible_tests::cluster::Cluster;
use codecrucible_tests::operator::Operator;
use codecrucible_tests::{product, wait};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Resources; none of them asks for a replica, so that only the operator works.
const RESOURCES: usize = 500;
/// Longest wait for the first apply of all, seconds.
const LIMIT_SECONDS: u64 = 600;
/// Time without a reconcile after which nothing is left to do, seconds.
const QUIET_SECONDS: u64 = 5;
const CLUSTER: &str = "codecrucible-bench";

fn main() -> anyhow::Result<()> {
    product::build()?;
    let cluster = Cluster::up(CLUSTER)?;
    product::apply_manifests(&cluster, "crds")?;
    product::apply_manifests(&cluster, "rbac")?;
    let start = || Operator::start(&cluster, "bench");
    let megabytes = |operator: &Operator| operator.metric("process_resident_memory_bytes ") / 1e6;
    let empty = start()?;
    empty.wait_until_leading()?;
    let without = megabytes(&empty);
    empty.kill()?;

    cluster.apply(&resources()?).context("the resources")?;
    let first = start()?;
    wait_until_quiet(&first)?;
    first.kill()?;

    // Now nothing is left to write: what is measured is looking, and finding that all is well.
    let steady = start()?;
    steady.wait_for_reconciles(1.0)?;
    let (begin, before) = (Instant::now(), steady.successful_reconciles());
    steady.wait_for_reconciles(RESOURCES as f64)?;
    let rate = (steady.successful_reconciles() - before) / begin.elapsed().as_secs_f64();
    let with = megabytes(&steady);
    println!("operator: {rate:.0} reconciles/s that find all well, concurrency 16 (budget at least 100)");
    println!(
        "operator: {without:.1} MB with no resource, {with:.1} MB with {RESOURCES} (budget {:.1} MB)",
        15.0 + 0.003 * RESOURCES as f64
    );
    steady.kill()?;
    Cluster::down(CLUSTER)
}

/// Waits until every resource was reconciled and no further reconcile follows: each write brings one about.
fn wait_until_quiet(operator: &Operator) -> anyhow::Result<()> {
    operator.wait_for_reconciles(RESOURCES as f64)?;
    let mut last = (Instant::now(), 0.0);
    wait::until("a quiet operator", Duration::from_secs(LIMIT_SECONDS), || {
        let reconciles = operator.successful_reconciles();
        if reconciles > last.1 {
            last = (Instant::now(), reconciles);
        }
        Ok(last.0.elapsed() > Duration::from_secs(QUIET_SECONDS))
    })
}

fn resources() -> anyhow::Result<String> {
    let mut yaml = String::from(
        "{apiVersion: codecrucible.dev/v1alpha1, kind: ModelBackend, metadata: {name: remote, namespace: default},
  spec: {type: OpenAI, url: 'http://127.0.0.1:9/v1', models: [{name: m}]}}\n",
    );
    for index in 0..RESOURCES {
        writeln!(
            yaml,
            "---\n{{apiVersion: codecrucible.dev/v1alpha1, kind: CodeCrucible, metadata: {{name: c{index}, namespace: default}},
  spec: {{image: {{repository: x, tag: x}}, replicas: 0, backends: [remote]}}}}"
        )?;
    }
    Ok(yaml)
}
