//! Reconciles per second and memory of the operator with 500 resources, on a real API server.
#![allow(clippy::print_stdout, reason = "benchmarks print their figures")]

use anyhow::Context as _;
use codecrucible_tests::cluster::{Cluster, forward};
use codecrucible_tests::{product, wait};
use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Resources; none of them asks for a replica, so that only the operator works.
const RESOURCES: usize = 500;
/// Longest wait for all of them, seconds.
const LIMIT_SECONDS: u64 = 300;
const CLUSTER: &str = "codecrucible-bench";

struct Operator {
    child: Child,
    port: u16,
}

impl Operator {
    fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        let port = forward::free_port()?;
        let child = Command::new(product::program("operator"))
            .args(["--listen", &format!("127.0.0.1:{port}"), "--identity", "bench"])
            .env("KUBECONFIG", cluster.kubeconfig())
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self { child, port })
    }

    fn metric(&self, name: &str) -> f64 {
        let url = format!("http://127.0.0.1:{}/metrics", self.port);
        let text =
            reqwest::blocking::get(url).and_then(reqwest::blocking::Response::text).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0.0)
    }

    fn reconciles(&self) -> f64 {
        self.metric("codecrucible_operator_reconciles_total{outcome=\"success\"}")
    }

    fn resident_megabytes(&self) -> f64 {
        self.metric("process_resident_memory_bytes") / 1e6
    }

    fn wait_for(&self, reconciles: f64) -> anyhow::Result<()> {
        wait::until("all reconciles", Duration::from_secs(LIMIT_SECONDS), || {
            Ok(self.reconciles() >= reconciles)
        })
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn main() -> anyhow::Result<()> {
    product::build()?;
    let cluster = Cluster::up(CLUSTER)?;
    product::apply_manifests(&cluster, "crds")?;
    let empty = Operator::start(&cluster)?;
    wait::until("leadership", Duration::from_secs(60), || {
        Ok(empty.metric("codecrucible_operator_leader ") > 0.0)
    })?;
    let without = empty.resident_megabytes();
    drop(empty);

    cluster.apply(&resources()?).context("the resources")?;
    let first = Operator::start(&cluster)?;
    first.wait_for(2.0 * RESOURCES as f64)?;
    drop(first);

    let start = Instant::now();
    let steady = Operator::start(&cluster)?;
    steady.wait_for(RESOURCES as f64)?;
    let rate = steady.reconciles() / start.elapsed().as_secs_f64();
    let with = steady.resident_megabytes();
    println!("operator: {rate:.0} reconciles/s from start, steady, concurrency 16 (budget at least 100)");
    println!(
        "operator: {without:.1} MB with no resource, {with:.1} MB with {RESOURCES} (budget {:.1} MB)",
        15.0 + 0.003 * RESOURCES as f64
    );
    drop(steady);
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
