//! The operator as a process of ours, in the cluster's network but not in a pod: it can be killed by its id.

use crate::cluster::Cluster;
use crate::proxy::Proxy;
use crate::{paths, product, wait};
use anyhow::ensure;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

/// Longest wait for anything that the operator does, seconds.
const LIMIT_SECONDS: u64 = 300;
/// Where the leader's lease and the operator's service account are.
pub const NAMESPACE: &str = "codecrucible-system";

/// The state of a connection that stands, as the kernel writes it.
const ESTABLISHED: &str = "01";

/// The operator's account.
pub const SERVICE_ACCOUNT: &str = "codecrucible-operator";

/// An account of which the audit log has reads too.
pub const AUDITED_ACCOUNT: &str = "codecrucible-operator-audited";

/// A file that holds a token.
const READABLE_BY_OWNER: u32 = 0o600;

/// A running operator. It is killed with the value.
pub struct Operator<'a> {
    cluster: &'a Cluster,
    child: Child,
    port: u16,
}

impl<'a> Operator<'a> {
    /// Starts the optimised program with the rights of the operator's service account.
    pub fn start(cluster: &'a Cluster, identity: &str) -> anyhow::Result<Self> {
        Self::start_as(cluster, identity, SERVICE_ACCOUNT)
    }

    /// Starts it with the rights of a service account, by which the audit log tells who wrote.
    pub fn start_as(cluster: &'a Cluster, identity: &str, account: &str) -> anyhow::Result<Self> {
        Self::start_with(cluster, identity, account, cluster.server_inside().as_deref(), &[])
    }

    /// Starts it with more variables in its environment.
    pub fn start_in(
        cluster: &'a Cluster,
        identity: &str,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let server = cluster.server_inside();
        Self::start_with(cluster, identity, SERVICE_ACCOUNT, server.as_deref(), environment)
    }

    /// Starts it behind a proxy.
    pub fn start_behind(cluster: &'a Cluster, identity: &str, proxy: &Proxy) -> anyhow::Result<Self> {
        Self::start_with(cluster, identity, SERVICE_ACCOUNT, Some(&proxy.url()), &[])
    }

    /// What it says that it would write.
    pub fn dry_run(cluster: &Cluster) -> anyhow::Result<String> {
        let output = cluster
            .inside(product::OPERATOR.path())
            .args(["--dry-run", "--lease-namespace", NAMESPACE])
            .env("KUBECONFIG", kubeconfig(cluster, SERVICE_ACCOUNT, cluster.server_inside().as_deref())?)
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    fn start_with(
        cluster: &'a Cluster,
        identity: &str,
        account: &str,
        server: Option<&str>,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let port = cluster.free_port_inside()?;
        let child = cluster
            .inside(product::OPERATOR.path())
            .args(["--listen", &format!("127.0.0.1:{port}"), "--identity", identity])
            .args(["--lease-namespace", NAMESPACE])
            .envs(environment.iter().copied())
            .env("KUBECONFIG", kubeconfig(cluster, account, server)?)
            .stdout(File::create(paths::repository().join(format!("target/{identity}.log")))?)
            .spawn()?;
        Ok(Self { cluster, child, port })
    }

    /// SIGKILL, by its process id.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGSTOP, by its process id: it does nothing until it is continued.
    pub fn hold(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGCONT, by its process id.
    pub fn go_on(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        nix::sys::signal::kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?;
        Ok(())
    }

    /// Waits until it has ended by itself, and tells whether that was a success.
    pub fn wait_until_ended(&mut self) -> anyhow::Result<bool> {
        let mut ended = None;
        wait::until("the operator's end", Duration::from_secs(LIMIT_SECONDS), || {
            ended = self.child.try_wait()?;
            Ok(ended.is_some())
        })?;
        Ok(ended.is_some_and(|status| status.success()))
    }

    /// SIGTERM, by its process id, and the end of what that begins.
    pub fn terminate(mut self) -> anyhow::Result<bool> {
        self.signal(Signal::SIGTERM)?;
        Ok(self.child.wait()?.success())
    }

    /// A metric by its name, with labels if it has some; zero while there is none.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.cluster.get_inside(self.address(), "/metrics").unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0.0)
    }

    /// Connections that it made and that stand: to the API server, and to replicas.
    pub fn connections(&self) -> anyhow::Result<usize> {
        let of_process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let mut sockets = BTreeSet::new();
        for open in std::fs::read_dir(of_process.join("fd"))? {
            let what = std::fs::read_link(open?.path()).unwrap_or_default();
            let socket = what.to_str().and_then(|what| what.strip_prefix("socket:[")?.strip_suffix(']'));
            sockets.extend(socket.map(str::to_owned));
        }
        // A line of proc_net_tcp(5): the local address is the second word, the state the fourth, the socket the tenth.
        let served = format!(":{:04X}", self.port);
        let is_ours = |line: &&str| {
            let words: Vec<_> = line.split_whitespace().collect();
            let word = |index: usize| words.get(index).copied().unwrap_or_default();
            !word(1).ends_with(&served) && word(3) == ESTABLISHED && sockets.contains(word(9))
        };
        Ok(std::fs::read_to_string(of_process.join("net/tcp"))?.lines().filter(is_ours).count())
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Reconciles that ended well.
    pub fn successful_reconciles(&self) -> f64 {
        self.metric("codecrucible_operator_reconciles_total{outcome=\"success\",resource=\"CodeCrucible\"}")
    }

    /// Waits until it leads.
    pub fn wait_until_leading(&self) -> anyhow::Result<()> {
        wait::until("leadership", Duration::from_secs(LIMIT_SECONDS), || {
            Ok(self.metric("codecrucible_operator_leader ") > 0.0)
        })
    }

    /// Waits for so many reconciles that ended well.
    pub fn wait_for_reconciles(&self, count: f64) -> anyhow::Result<()> {
        wait::until("reconciles", Duration::from_secs(LIMIT_SECONDS), || {
            Ok(self.successful_reconciles() >= count)
        })
    }
}

/// The administrator's kubeconfig with the service account's token in place of what it has. It lies with what is built,
/// because the administrator's may be somebody's own.
fn kubeconfig(cluster: &Cluster, account: &str, server: Option<&str>) -> anyhow::Result<PathBuf> {
    let kubectl = |arguments: &[&str]| -> anyhow::Result<String> {
        let output = cluster.kubectl()?.args(arguments).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    let token = kubectl(&["-n", NAMESPACE, "create", "token", account, "--duration=1h"])?;
    let admin = kubectl(&["config", "view", "--minify", "--flatten", "--raw", "--output=json"])?;
    let mut config: serde_json::Value = serde_json::from_str(&admin)?;
    if let Some(server) = server {
        config["clusters"][0]["cluster"]["server"] = server.into();
    }
    config["users"][0]["user"] = serde_json::json!({"token": token.trim()});
    let path = paths::repository().join(format!("target/{account}.kubeconfig"));
    let mut file =
        OpenOptions::new().create(true).write(true).truncate(true).mode(READABLE_BY_OWNER).open(&path)?;
    file.write_all(config.to_string().as_bytes())?;
    Ok(path)
}

impl Drop for Operator<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
