//! Time from a changed policy to a status that says that all of three replicas run it, on a real cluster.
#![allow(clippy::print_stdout, reason = "benchmarks print their figures")]

use anyhow::{Context as _, ensure};
use codecrucible_benches::median;
use codecrucible_tests::cluster::Cluster;
use codecrucible_tests::product;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Instant;

/// Changes that are measured.
const CHANGES: usize = 50;
/// Replicas that must say that they run it.
const REPLICAS: usize = 3;
const CLUSTER: &str = "codecrucible-bench";

fn main() -> anyhow::Result<()> {
    product::build()?;
    let cluster = Cluster::up(CLUSTER)?;
    product::install(&cluster)?;
    cluster.apply(&service())?;
    let mut status = Status::watch(&cluster)?;
    status.wait_for(1)?;
    let mut seconds = Vec::new();
    for change in 1..=CHANGES {
        // Also counts the time that kubectl takes to start.
        let begin = Instant::now();
        patch(&cluster, change)?;
        status.wait_for(change + 1)?;
        seconds.push(begin.elapsed().as_secs_f64());
    }
    let longest = seconds.iter().copied().fold(0.0, f64::max);
    println!(
        "policy: {CHANGES} changes, each run by {REPLICAS} replicas and in status after {:.2} s in the median (budget 2 s), \
         {longest:.2} s at most (budget 5 s)",
        median(seconds.into_iter())
    );
    drop(status);
    Cluster::down(CLUSTER)
}

fn service() -> String {
    format!(
        "{{apiVersion: codecrucible.dev/v1alpha1, kind: ModelBackend, metadata: {{name: remote, namespace: default}},
  spec: {{type: OpenAI, url: 'http://127.0.0.1:9/v1', models: [{{name: m}}]}}}}
---
{{apiVersion: codecrucible.dev/v1alpha1, kind: CodeCrucible, metadata: {{name: demo, namespace: default}},
  spec: {{image: {{repository: codecrucible.dev/workload, tag: dev}}, replicas: {REPLICAS}, backends: [remote],
    resources: {{requests: {{cpu: 20m, memory: 64Mi}}, limits: {{cpu: '1', memory: 256Mi}}}}}}}}\n"
    )
}

fn patch(cluster: &Cluster, change: usize) -> anyhow::Result<()> {
    let patch = format!("{{\"spec\":{{\"synthesis\":{{\"maxTokensPerVoice\":{}}}}}}}", 100 + change);
    let arguments = ["patch", "codecrucible", "demo", "--type=merge", "-p", &patch];
    let patched = cluster.kubectl()?.args(arguments).output()?;
    ensure!(patched.status.success(), "kubectl patch: {}", String::from_utf8_lossy(&patched.stderr));
    Ok(())
}

/// The status, as kubectl shows each change of it.
struct Status {
    kubectl: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Status {
    fn watch(cluster: &Cluster) -> anyhow::Result<Self> {
        let shown = "jsonpath={.status.policy.revision} {.status.policy.appliedReplicas}{\"\\n\"}";
        let mut kubectl = cluster
            .kubectl()?
            .args(["get", "codecrucible", "demo", "--watch", "-o", shown])
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(kubectl.stdout.take().context("no output")?).lines();
        Ok(Self { kubectl, lines })
    }

    /// Waits until all replicas run the policy with this counter.
    fn wait_for(&mut self, counter: usize) -> anyhow::Result<()> {
        let (revision, replicas) = (format!("{counter}-"), format!(" {REPLICAS}"));
        for line in &mut self.lines {
            let line = line?;
            if line.starts_with(&revision) && line.ends_with(&replicas) {
                return Ok(());
            }
        }
        anyhow::bail!("kubectl stopped watching")
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}
