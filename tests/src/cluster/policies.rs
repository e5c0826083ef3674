//! NetworkPolicies, enforced: compiled into nftables rules of the node, past which pods' traffic is routed. Only as much
//! of them as the product uses, and only of one namespace, at one time.

use super::inside::within;
use super::network::{inside, run};
use super::{Cluster, Place};
use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

/// Longest wait for a connection, milliseconds: what is closed is silent.
const CONNECT_MS: u64 = 1_000;

impl Cluster {
    /// Enforces the policies of a namespace on the pods that are there now.
    pub fn enforce_policies(&self, namespace: &str) -> anyhow::Result<()> {
        let world = World {
            policies: self.list(&["-n", namespace, "networkpolicies"])?,
            pods: self.list(&["-A", "pods"])?,
            namespaces: self.list(&["namespaces"])?,
        };
        let rules = world.rules(namespace)?;
        let mut nft = inside(&self.place, "nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
        nft.stdin.take().context("no input")?.write_all(rules.as_bytes())?;
        ensure!(nft.wait()?.success(), "nft refuses:\n{rules}");
        Ok(())
    }

    /// Enforces them no longer.
    pub fn release_policies(&self, namespace: &str) -> anyhow::Result<()> {
        run(inside(&self.place, "nft").args(["delete", "table", "inet", &table(namespace)]))
    }

    /// Whether a pod gets a connection, from inside its own network.
    pub fn pod_connects(&self, pod: IpAddr, to: SocketAddr) -> anyhow::Result<bool> {
        let namespace = pod_network(&self.place, pod)?;
        within(Some(&namespace), || {
            Ok(TcpStream::connect_timeout(&to, Duration::from_millis(CONNECT_MS)).is_ok())
        })
    }

    fn list(&self, what: &[&str]) -> anyhow::Result<Vec<Value>> {
        let listed = self.kubectl()?.arg("get").args(what).args(["-o", "json"]).output()?;
        ensure!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        let listed: Value = serde_json::from_slice(&listed.stdout)?;
        Ok(listed["items"].as_array().cloned().unwrap_or_default())
    }
}

/// The network namespace of the pod that has an address.
fn pod_network(place: &Place, pod: IpAddr) -> anyhow::Result<PathBuf> {
    let folder = place.file("containerd-run/io.containerd.grpc.v1.cri/netns");
    for entry in std::fs::read_dir(folder)? {
        let file = entry?.path();
        let net = format!("--net={}", file.display());
        let shown =
            std::process::Command::new("nsenter").args([&net, "ip", "-4", "-o", "address"]).output()?;
        if String::from_utf8_lossy(&shown.stdout).contains(&format!("inet {pod}/")) {
            return Ok(file);
        }
    }
    anyhow::bail!("no pod has the address {pod}")
}

fn table(namespace: &str) -> String {
    format!("policies_{}", namespace.replace('-', "_"))
}

struct World {
    policies: Vec<Value>,
    pods: Vec<Value>,
    namespaces: Vec<Value>,
}

impl World {
    fn rules(&self, namespace: &str) -> anyhow::Result<String> {
        let table = table(namespace);
        let (mut jumps, mut chains) = (String::new(), String::new());
        for (index, policy) in self.policies.iter().enumerate() {
            let spec = &policy["spec"];
            let selected =
                self.addresses(&spec["podSelector"], |pod| pod["metadata"]["namespace"] == namespace);
            if selected.is_empty() {
                continue;
            }
            for (direction, ours, theirs, peers) in
                [("ingress", "daddr", "saddr", "from"), ("egress", "saddr", "daddr", "to")]
            {
                writeln!(jumps, "    ip {ours} {{ {} }} jump {direction}_{index}", selected.join(", "))?;
                writeln!(chains, "  chain {direction}_{index} {{")?;
                for rule in spec[direction].as_array().into_iter().flatten() {
                    chains.push_str(&self.allowed(rule, theirs, peers)?);
                }
                writeln!(chains, "    drop\n  }}")?;
            }
        }
        let hook = |name: &str| {
            format!("  chain {name} {{\n    type filter hook {name} priority 0;\n    jump pods\n  }}\n")
        };
        Ok(format!(
            "table inet {table} {{\n{chains}  chain pods {{\n    ct state established,related return\n{jumps}  }}\n{}{}}}\n",
            hook("forward"),
            hook("input"),
        ))
    }

    /// What a rule lets pass, a line for each port.
    fn allowed(&self, rule: &Value, theirs: &str, peers: &str) -> anyhow::Result<String> {
        let peer = match rule[peers].as_array() {
            None => String::new(),
            Some(peers) => {
                let addresses: Vec<_> = peers.iter().flat_map(|peer| self.peers(peer)).collect();
                if addresses.is_empty() {
                    return Ok(String::new());
                }
                format!("ip {theirs} {{ {} }} ", addresses.join(", "))
            }
        };
        let mut lines = String::new();
        for port in rule["ports"].as_array().context("a rule without ports")? {
            let protocol = port["protocol"].as_str().context("no protocol")?.to_lowercase();
            writeln!(lines, "    {peer}{protocol} dport {} return", port["port"])?;
        }
        Ok(lines)
    }

    fn peers(&self, peer: &Value) -> Vec<String> {
        let matching =
            self.namespaces.iter().filter(|namespace| selects(&peer["namespaceSelector"], namespace));
        let names: Vec<_> = matching.map(|namespace| namespace["metadata"]["name"].clone()).collect();
        self.addresses(&Value::Null, |pod| names.contains(&pod["metadata"]["namespace"]))
    }

    fn addresses(&self, selector: &Value, is_there: impl Fn(&Value) -> bool) -> Vec<String> {
        let pods = self.pods.iter().filter(|pod| is_there(pod) && selects(selector, pod));
        pods.filter_map(|pod| pod["status"]["podIP"].as_str().map(str::to_owned)).collect()
    }
}

/// Whether an object has the labels that a selector asks for.
fn selects(selector: &Value, object: &Value) -> bool {
    let labels = selector["matchLabels"].as_object();
    labels.into_iter().flatten().all(|(name, value)| object["metadata"]["labels"][name] == *value)
}
