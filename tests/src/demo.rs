//! The way from nothing to a service that writes code, shown step by step.

use crate::client::{Client, Credentials};
use crate::cluster::Cluster;
use crate::port_forward::PortForward;
use crate::{model, paths, product};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use std::io::Write as _;
use std::time::Instant;

/// The demo's cluster.
pub const CLUSTER: &str = "codecrucible";

/// Runs the demo and leaves the service up.
pub fn up() -> anyhow::Result<()> {
    let start = Instant::now();
    let step = |text: &str| println!("\n== {text} ({} s)", start.elapsed().as_secs());
    step("Building the operator and the service");
    product::build()?;
    step("Fetching the model");
    model::QWEN.fetch()?;
    step("Starting a cluster");
    let cluster = Cluster::up(CLUSTER)?;
    step("Installing the operator");
    product::install(&cluster)?;
    step("Applying manifests/samples/demo.yaml");
    let sample = std::fs::read_to_string(paths::repository().join("manifests/samples/demo.yaml"))?;
    let folder = model::folder()?;
    cluster
        .apply(&sample.replace("MODEL_FOLDER", folder.to_str().context("the cache's path is not UTF-8")?))?;
    kubectl(
        &cluster,
        &["-n", "demo", "wait", "--for=condition=Ready", "--timeout=180s", "codecrucible/demo"],
    )?;
    kubectl(&cluster, &["-n", "demo", "get", "codecrucible,modelbackend", "-o", "wide"])?;
    kubectl(&cluster, &["-n", "demo", "get", "pods,services,networkpolicies,poddisruptionbudgets"])?;

    let forward = PortForward::start(&cluster, "demo", "service/demo", 8080)?;
    let client = Client::authenticate(&forward.url(), &Credentials::of(&cluster, "demo", "demo")?)?;
    step("A token's claims");
    println!("{:#}", client.claims()?);
    step("A streamed answer");
    chat(&client)?;
    step("A synthesis: three voices, scored by evidence");
    synthesis(&client)?;
    step("The service stays up");
    println!("{NEXT}");
    Ok(())
}

const NEXT: &str = "Try next:
  target/debug/cluster kubectl -- -n demo describe codecrucible demo
  target/debug/cluster kubectl -- -n demo patch codecrucible demo --type merge -p '{\"spec\":{\"replicas\":2}}'
  target/debug/cluster kubectl -- -n demo port-forward service/demo 8080
  make demo-down";

fn kubectl(cluster: &Cluster, arguments: &[&str]) -> anyhow::Result<()> {
    println!("$ kubectl {}", arguments.join(" "));
    let status = cluster.kubectl()?.args(arguments).status()?;
    if !status.success() {
        let _ = cluster.kubectl()?.args(["-n", "demo", "describe", "codecrucible,pods"]).status();
    }
    ensure!(status.success(), "kubectl {} failed", arguments.join(" "));
    Ok(())
}

fn chat(client: &Client) -> anyhow::Result<()> {
    let question = "Write a Python function is_prime(n). Only the code.";
    println!("> {question}");
    let request = json!({
        "model": "coder", "stream": true, "max_tokens": 120, "temperature": 0,
        "messages": [{"role": "user", "content": question}],
    });
    client.post_events("/v1/chat/completions", &request, |data| {
        let chunk: Value = serde_json::from_str(data).unwrap_or_default();
        print!("{}", chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
        let _ = std::io::stdout().flush();
        true
    })?;
    println!();
    Ok(())
}

fn synthesis(client: &Client) -> anyhow::Result<()> {
    let task = "Write a Python function fibonacci(n) that returns the n-th Fibonacci number.";
    println!("> {task}");
    let mut result = Value::Null;
    client.post_events("/v1/synthesis", &json!({"task": task, "stream": true}), |data| {
        let event: Value = serde_json::from_str(data).unwrap_or_default();
        match event["type"].as_str() {
            Some("voice.started") => println!("{} begins", event["voice"].as_str().unwrap_or_default()),
            Some("voice.finished") => print_score(&event),
            Some("synthesis.finished") => result = event["synthesis"].clone(),
            _ => {}
        }
        true
    })?;
    ensure!(result.is_object(), "the synthesis did not finish");
    println!(
        "winner: {}\n{}",
        result["winner"].as_str().unwrap_or_default(),
        result["code"].as_str().unwrap_or_default()
    );
    Ok(())
}

fn print_score(candidate: &Value) {
    let voice = candidate["voice"].as_str().unwrap_or_default();
    let Some(parts) = candidate["score"]["parts"].as_array() else {
        return println!("{voice} failed: {}", candidate["error"].as_str().unwrap_or_default());
    };
    let describe = |part: &Value| {
        format!("{} {}/{}", part["name"].as_str().unwrap_or_default(), part["points"], part["of"])
    };
    let parts: Vec<String> = parts.iter().map(describe).collect();
    println!("{voice} ends with {} points: {}", candidate["score"]["total"], parts.join(", "));
}
