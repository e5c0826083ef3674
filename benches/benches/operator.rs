//! Reconciles per second and memory of the operator with 500 resources, on a real API server.
#![allow(clippy::print_stdout, reason = "benchmarks print their figures")]

use anyhow::Context as _;
use codecrucible_tests::cluster::Cluster;
use codecrucible_tests::operator::Operator;
use codecrucible_tests::product;
use std::fmt::Write as _;
use std::time::Instant;

/// Resources; none of them asks for a replica, so that only the operator works.
const RESOURCES: usize = 500;
const CLUSTER: &str = "codecrucible-bench";

fn main() -> anyhow::Result<()> {
    product::build()?;
    let cluster = Cluster::up(CLUSTER)?;
    product::apply_manifests(&cluster, "crds")?;
    product::apply_manifests(&cluster, "rbac")?;
    let start = || Operator::start(&cluster.kubeconfig(), "bench");
    let megabytes = |operator: &Operator| operator.metric("process_resident_memory_bytes ") / 1e6;
    let empty = start()?;
    empty.wait_until_leading()?;
    let without = megabytes(&empty);
    empty.kill()?;

    cluster.apply(&resources()?).context("the resources")?;
    let first = start()?;
    first.wait_for_reconciles(2.0 * RESOURCES as f64)?;
    first.kill()?;

    let begin = Instant::now();
    let steady = start()?;
    steady.wait_for_reconciles(RESOURCES as f64)?;
    let rate = steady.successful_reconciles() / begin.elapsed().as_secs_f64();
    let with = megabytes(&steady);
    println!("operator: {rate:.0} reconciles/s from start, steady, concurrency 16 (budget at least 100)");
    println!(
        "operator: {without:.1} MB with no resource, {with:.1} MB with {RESOURCES} (budget {:.1} MB)",
        15.0 + 0.003 * RESOURCES as f64
    );
    steady.kill()?;
    Cluster::down(CLUSTER)
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
