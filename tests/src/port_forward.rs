//! `kubectl port-forward` as long as a value lives.

use crate::cluster::Cluster;
use anyhow::{Context as _, bail};
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Stdio};

/// A forward from a port on loopback.
pub struct PortForward {
    child: Child,
    port: u16,
}

impl PortForward {
    /// Forwards to a port of a service or pod.
    pub fn start(cluster: &Cluster, namespace: &str, target: &str, port: u16) -> anyhow::Result<Self> {
        let mut child = cluster
            .kubectl()?
            .args(["-n", namespace, "port-forward", "--address", "127.0.0.1", target, &format!(":{port}")])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().context("no output")?);
        output.read_line(&mut line)?;
        // kubectl tells of every connection, and ends when nobody reads that.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        // "Forwarding from 127.0.0.1:40001 -> 8080"
        let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        match port {
            Some(port) => Ok(Self { child, port }),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                bail!("kubectl port-forward to {target} in {namespace} said {line:?}")
            }
        }
    }

    /// Where it is reached.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The base of URLs.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for PortForward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
