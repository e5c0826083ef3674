//! The operator with 500 resources and 3,000 Secrets that are none of its own, on a real API server: how soon all have a status,
//! how many reconciles it does in a second, how soon it acts on a change, and its memory.
#![allow(clippy::print_stdout, reason = "benchmarks print their figures")]

use anyhow::{Context as _, ensure};
use codecrucible_benches::median;
use codecrucible_tests::cluster::Cluster;
use codecrucible_tests::operator::Operator;
use codecrucible_tests::{product, wait};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Resources; none of them asks for a replica, so that only the operator works.
const RESOURCES: usize = 500;
/// Secrets of somebody else.
const SECRETS: usize = 3_000;
/// Changes that are measured.
const CHANGES: usize = 20;
/// Longest wait for the first apply of all, seconds.
const LIMIT_SECONDS: u64 = 600;
/// Time without a reconcile after which nothing is left to do, seconds.
const QUIET_SECONDS: u64 = 5;
/// Time after which connections that are used no more are closed, and memory given back, seconds.
const REST_SECONDS: u64 = 110;
/// Who the operator is for the API server.
const OPERATOR: &str = "system:serviceaccount:codecrucible-system:codecrucible-operator";
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

    cluster.apply(&secrets()?).context("the Secrets")?;
    cluster.apply(&resources()?).context("the resources")?;
    let begin = Timestamp::now();
    let first = start()?;
    wait_until_quiet(&first)?;
    let statuses = Statuses::read(&cluster)?;
    println!(
        "operator: {RESOURCES} resources are Ready or Reconciling {:.1} s after the first start for all of them (budget 60 s), and all that belongs to them is made after {:.1} s",
        last(&statuses.first)?.duration_since(begin).as_secs_f64(),
        last(&statuses.last)?.duration_since(begin).as_secs_f64()
    );
    first.kill()?;

    let begin = Instant::now();
    let steady = start()?;
    steady.wait_for_reconciles(RESOURCES as f64)?;
    println!("operator: all looked at {:.1} s after a restart", begin.elapsed().as_secs_f64());
    wait_until_quiet(&steady)?;
    // Nothing is left to write: what is measured is looking, and finding that all is well.
    let (begin, before) = (Instant::now(), steady.successful_reconciles());
    touch_backend(&cluster)?;
    steady.wait_for_reconciles(before + RESOURCES as f64)?;
    let rate = RESOURCES as f64 / begin.elapsed().as_secs_f64();
    let with = megabytes(&steady);
    println!("operator: {rate:.0} reconciles/s that find all well, concurrency 16 (budget at least 100)");
    let seconds = change_some(&cluster)?;
    println!(
        "operator: {CHANGES} changes of a spec, each acted on after {:.0} ms in the median, {:.0} ms at most (budget 200 ms)",
        median(seconds.iter().copied()) * 1e3,
        seconds.iter().copied().fold(0.0, f64::max) * 1e3
    );
    // Connections that nobody uses any more are kept for a while, and with them what they read last.
    thread::sleep(Duration::from_secs(REST_SECONDS));
    println!(
        "operator: {without:.1} MB with no resource, with {RESOURCES} and {SECRETS} foreign Secrets {with:.1} MB when all were looked at only now, {:.1} MB at rest (budget {:.1} MB)",
        megabytes(&steady),
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

/// When each resource was told of in its status. By the API server's own clock and log: whoever lists 500 resources again and again
/// takes a core from those that are measured.
#[derive(Default)]
struct Statuses {
    /// For the first time: that it waits.
    first: BTreeMap<String, Timestamp>,
    /// For the last time: when all that belongs to it was made.
    last: BTreeMap<String, Timestamp>,
}

impl Statuses {
    fn read(cluster: &Cluster) -> anyhow::Result<Self> {
        let mut statuses = Self::default();
        for entry in &entries(&cluster.audit_log().context("the cluster keeps no audit log")?, 0)? {
            statuses.note(entry)?;
        }
        Ok(statuses)
    }

    fn note(&mut self, entry: &Value) -> anyhow::Result<()> {
        let about = &entry["objectRef"];
        let is_status = about["resource"] == "codecrucibles" && about["subresource"] == "status";
        let Some(name) =
            about["name"].as_str().filter(|_| is_status && entry["user"]["username"] == OPERATOR)
        else {
            return Ok(());
        };
        let at: Timestamp = entry["stageTimestamp"].as_str().context("an entry without time")?.parse()?;
        self.first.entry(name.to_owned()).or_insert(at);
        self.last.insert(name.to_owned(), at);
        Ok(())
    }
}

/// The last of all resources' times.
fn last(times: &BTreeMap<String, Timestamp>) -> anyhow::Result<Timestamp> {
    ensure!(times.len() == RESOURCES, "{} resources have a status", times.len());
    times.values().max().copied().context("no resource has a status")
}

/// What the audit log has from a place on, in bytes.
fn entries(log: &Path, from: u64) -> anyhow::Result<Vec<Value>> {
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(from))?;
    let text = std::io::read_to_string(file)?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Has all resources looked at: each of them names the backend.
fn touch_backend(cluster: &Cluster) -> anyhow::Result<()> {
    let label = ["label", "modelbackend", "remote", "touched=yes"];
    let labelled = cluster.kubectl()?.args(label).output()?;
    ensure!(labelled.status.success(), "kubectl label: {}", String::from_utf8_lossy(&labelled.stderr));
    Ok(())
}

/// Changes some resources, one after the other. Gives the seconds from each change to the operator's first write for it,
/// by the API server's own clock.
fn change_some(cluster: &Cluster) -> anyhow::Result<Vec<f64>> {
    let log = cluster.audit_log().context("the cluster keeps no audit log")?;
    (0..CHANGES).map(|index| change(cluster, &log, &format!("c{index}"))).collect()
}

fn change(cluster: &Cluster, log: &Path, name: &str) -> anyhow::Result<f64> {
    let before = std::fs::metadata(log)?.len();
    let patch = "{\"spec\":{\"synthesis\":{\"maxTokensPerVoice\":99}}}";
    let patched =
        cluster.kubectl()?.args(["patch", "codecrucible", name, "--type=merge", "-p", patch]).output()?;
    ensure!(patched.status.success(), "kubectl patch: {}", String::from_utf8_lossy(&patched.stderr));
    let mut seconds = None;
    wait::until("the operator's first write", Duration::from_secs(LIMIT_SECONDS), || {
        let entries = entries(log, before)?;
        let made = time(&entries, "stageTimestamp", |entry| {
            entry["objectRef"]["resource"] == "codecrucibles" && entry["objectRef"]["name"] == name
        });
        let acted = time(&entries, "requestReceivedTimestamp", |entry| {
            let object = entry["objectRef"]["name"].as_str().unwrap_or_default();
            entry["user"]["username"] == OPERATOR && object.starts_with(&format!("{name}-"))
        });
        seconds = made.zip(acted).map(|(made, acted)| acted.duration_since(made).as_secs_f64());
        Ok(seconds.is_some())
    })?;
    seconds.context("nothing was written")
}

/// The time of the first entry of a kind.
fn time(entries: &[Value], field: &str, is_it: impl Fn(&Value) -> bool) -> Option<Timestamp> {
    entries.iter().find(|entry| is_it(entry))?[field].as_str()?.parse().ok()
}

fn secrets() -> anyhow::Result<String> {
    let mut yaml = String::from("{apiVersion: v1, kind: Namespace, metadata: {name: elsewhere}}\n");
    for index in 0..SECRETS {
        writeln!(
            yaml,
            "---\n{{apiVersion: v1, kind: Secret, metadata: {{name: s{index}, namespace: elsewhere}}, stringData: {{password: none}}}}"
        )?;
    }
    Ok(yaml)
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
