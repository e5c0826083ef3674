//! A real Kubernetes cluster on one machine, in a network namespace of its own: etcd, API server,
//! controller manager, scheduler, kubelet, kube-proxy, containerd and CoreDNS.
//!
//! Nothing can leave the namespace, and nothing from outside reaches pods or services; the API server alone
//! is carried to a port on loopback.

mod binaries;
mod cert_manager;
mod certificates;
mod collector;
mod components;
mod configuration;
mod extension;
pub mod forward;
mod gateway;
mod held_volume;
mod in_flight;
mod inside;
mod metrics;
mod modules;
mod network;
mod packages;
mod policies;
mod processes;
mod teardown;

use crate::image::Image;
use crate::paths;
use crate::wait;
use anyhow::{Context as _, bail, ensure};
use binaries::Binaries;
pub use collector::Collector;
pub use held_volume::HeldVolume;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// Where clusters keep everything while they run.
const STATE_ROOT: &str = "/var/lib/codecrucible-cluster";
/// Longest name: it is part of paths of sockets, which are short.
const MAX_NAME_BYTES: usize = 20;
/// First port that is tried for a listener; below those that the system gives to connections.
const FIRST_PORT: u16 = 20_000;
/// Most ports that are tried.
const MAX_PORTS: usize = 100;
/// Longest time from a started API server to a ready node, seconds.
const READY_SECONDS: u64 = 90;

/// A cluster that runs, or whose place is known.
pub struct Cluster {
    place: Place,
    external: Option<PathBuf>,
}

/// Where one cluster keeps its things, all derived from its name.
#[derive(Clone)]
pub(crate) struct Place {
    name: String,
    state: PathBuf,
}

impl Place {
    fn new(name: &str) -> anyhow::Result<Self> {
        let is_valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ensure!(
            !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.bytes().all(is_valid),
            "the cluster's name {name:?} must be 1 to {MAX_NAME_BYTES} of a-z, 0-9 and -"
        );
        Ok(Self { name: name.to_owned(), state: Path::new(STATE_ROOT).join(name) })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }

    fn network_namespace(&self) -> String {
        format!("cc-{}", self.name)
    }

    fn network_namespace_file(&self) -> PathBuf {
        Path::new("/run/netns").join(self.network_namespace())
    }

    fn cgroup(&self) -> String {
        format!("cc-{}", self.name)
    }

    fn containerd_socket(&self) -> PathBuf {
        self.file("containerd.sock")
    }

    fn kubeconfig(&self) -> PathBuf {
        self.file("admin.kubeconfig")
    }
}

/// Installs and builds what clusters need.
pub fn prepare() -> anyhow::Result<()> {
    packages::install_missing()?;
    Binaries::of_clusters().map(|_| ())
}

/// Installs and builds what clusters and tests need.
pub fn prepare_tests() -> anyhow::Result<()> {
    packages::install_missing()?;
    Binaries::for_tests().map(|_| ())
}

impl Cluster {
    /// Starts a cluster, or finds it running. What a crash left behind is removed first.
    pub fn up(name: &str) -> anyhow::Result<Self> {
        if let Some(external) = Self::external()? {
            return Ok(external);
        }
        if let Ok(running) = Self::attach(name)
            && running.answers()?
        {
            return Ok(running);
        }
        Self::down(name)?;
        let place = Place::new(name)?;
        packages::install_missing()?;
        let binaries = Binaries::of_clusters()?;
        let cluster = Self { place, external: None };
        if let Err(error) = cluster.start(&binaries) {
            let logs = cluster.failing_logs();
            return Err(error.context(format!("the cluster {name:?} did not start\n{logs}")));
        }
        Ok(cluster)
    }

    /// Finds a cluster that runs.
    pub fn attach(name: &str) -> anyhow::Result<Self> {
        if let Some(external) = Self::external()? {
            return Ok(external);
        }
        let cluster = Self { place: Place::new(name)?, external: None };
        let dead: Vec<_> =
            components::ALL.iter().filter(|name| !processes::is_alive(&cluster.place, name)).collect();
        ensure!(
            dead.is_empty(),
            "the cluster {name:?} does not run: {dead:?} missing; start it with `cluster up`"
        );
        Ok(cluster)
    }

    /// Whether the API server is ready: a component that just crashed may still look alive.
    fn answers(&self) -> anyhow::Result<bool> {
        let ready = self.kubectl()?.args(["get", "--raw", "/readyz", "--request-timeout=10s"]).output()?;
        Ok(ready.status.success())
    }

    /// The cluster that `CLUSTER_KUBECONFIG` names, if it is set.
    fn external() -> anyhow::Result<Option<Self>> {
        let Some(kubeconfig) = std::env::var_os("CLUSTER_KUBECONFIG") else {
            return Ok(None);
        };
        let cluster = Self { place: Place::new("external")?, external: Some(kubeconfig.into()) };
        let reached = cluster
            .kubectl()?
            .args(["get", "--raw", "/readyz"])
            .output()
            .context("kubectl does not start")?;
        ensure!(
            reached.status.success(),
            "the cluster of CLUSTER_KUBECONFIG does not answer: {}",
            String::from_utf8_lossy(&reached.stderr)
        );
        Ok(Some(cluster))
    }

    /// Removes a cluster and all its traces; fine when there is none. Leaves one of `CLUSTER_KUBECONFIG` alone.
    pub fn down(name: &str) -> anyhow::Result<()> {
        if std::env::var_os("CLUSTER_KUBECONFIG").is_some() {
            return Ok(());
        }
        teardown::remove(&Place::new(name)?)
    }

    fn start(&self, binaries: &Binaries) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.place.state)?;
        let port = forward::free_port()?;
        std::fs::write(self.place.file("forward-port"), port.to_string())?;
        network::create(&self.place)?;
        certificates::create(&self.place)?;
        configuration::write_all(&self.place, port)?;
        components::start_all(&self.place, binaries, port)?;
        self.load_pause_image(binaries)?;
        wait::until("a ready node", Duration::from_secs(READY_SECONDS), || {
            let condition = "jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}";
            let shown = self.kubectl()?.args(["get", "nodes", "-o", condition]).output()?;
            Ok(String::from_utf8_lossy(&shown.stdout).trim() == "True")
        })?;
        self.apply(&configuration::cluster_dns())?;
        // A pod is refused until its namespace has the account, which comes a moment after the node is ready.
        wait::until("the default service account", Duration::from_secs(READY_SECONDS), || {
            let account = ["-n", "default", "get", "serviceaccount", "default"];
            Ok(self.kubectl()?.args(account).output()?.status.success())
        })
    }

    fn load_pause_image(&self, binaries: &Binaries) -> anyhow::Result<()> {
        let archive = self.place.file("pause.tar");
        Image {
            name: configuration::PAUSE_IMAGE.into(),
            files: vec![("/pause".into(), binaries.path("pause"), 0o755)],
            entrypoint: vec!["/pause".into()],
            user: "65535:65535".into(),
        }
        .write_archive(&archive)?;
        self.load_image(&archive)
    }

    /// Loads an image archive into the node.
    pub fn load_image(&self, archive: &Path) -> anyhow::Result<()> {
        if self.external.is_some() {
            bail!("images reach the cluster of CLUSTER_KUBECONFIG through its own registry or load command");
        }
        let imported = Command::new("ctr")
            .arg("--address")
            .arg(self.place.containerd_socket())
            .args(["--namespace", "k8s.io", "images", "import"])
            .arg(archive)
            .output()
            .context("ctr does not start")?;
        ensure!(
            imported.status.success(),
            "the image is refused: {}",
            String::from_utf8_lossy(&imported.stderr)
        );
        Ok(())
    }

    /// Applies manifests.
    pub fn apply(&self, yaml: &str) -> anyhow::Result<()> {
        let mut kubectl = self
            .kubectl()?
            .args(["apply", "--server-side", "-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        kubectl.stdin.take().context("no input")?.write_all(yaml.as_bytes())?;
        let applied = kubectl.wait_with_output()?;
        ensure!(applied.status.success(), "kubectl apply: {}", String::from_utf8_lossy(&applied.stderr));
        Ok(())
    }

    /// Keeps what a pod mounts as it is, for as long as the value lives. `volume`: its plugin and its name.
    pub fn hold_volume(&self, pod_uid: &str, volume: &str) -> anyhow::Result<HeldVolume> {
        HeldVolume::hold(self.place.file("kubelet/pods").join(pod_uid).join("volumes").join(volume))
    }

    /// Whether it is the cluster of `CLUSTER_KUBECONFIG`, not one of ours.
    pub fn is_external(&self) -> bool {
        self.external.is_some()
    }

    /// The administrator's credentials.
    pub fn kubeconfig(&self) -> PathBuf {
        self.external.clone().unwrap_or_else(|| self.place.kubeconfig())
    }

    /// The audit log of writes, where the cluster is our own.
    pub fn audit_log(&self) -> Option<PathBuf> {
        self.external.is_none().then(|| self.place.file("audit.log"))
    }

    /// kubectl with the administrator's credentials.
    pub fn kubectl(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(Binaries::of_clusters()?.path("kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig());
        Ok(command)
    }

    /// helm with the administrator's credentials. What it keeps for itself lies with what is built.
    pub fn helm(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(Binaries::for_tests()?.path("helm"));
        let home = paths::repository().join("target/helm");
        for (variable, folder) in
            [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
        {
            command.env(variable, home.join(folder));
        }
        command.env("KUBECONFIG", self.kubeconfig());
        Ok(command)
    }

    /// kubeconform, which judges manifests by schemas alone.
    pub fn kubeconform(&self) -> anyhow::Result<Command> {
        Ok(Command::new(Binaries::for_tests()?.path("kubeconform")))
    }

    /// A program that will run inside the cluster's network, where it reaches pods. Beside one that is not ours.
    pub fn inside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        if self.is_external() { Command::new(program) } else { network::inside(&self.place, program) }
    }

    /// The body of an answer that tells of success, from an address inside the cluster's network.
    pub fn get_inside(&self, address: SocketAddr, path: &str) -> anyhow::Result<String> {
        let namespace = self.place.network_namespace_file();
        inside::get((!self.is_external()).then_some(&namespace), address, path)
    }

    /// Something on the node that takes connections, for as long as the value lives; who answers is up to its owner. A pod reaches it.
    pub fn listen_on_the_node(&self) -> anyhow::Result<TcpListener> {
        self.listen_on_the_node_at(0)
    }

    /// The same at a port; 0 is any.
    pub fn listen_on_the_node_at(&self, port: u16) -> anyhow::Result<TcpListener> {
        let namespace = self.network_namespace_file();
        inside::within(Some(&namespace), || Ok(TcpListener::bind((network::NODE_ADDRESS, port))?))
    }

    /// A port of loopback inside the cluster's network that nobody has, and nobody gets for a connection of their own.
    pub fn free_port_inside(&self) -> anyhow::Result<u16> {
        static NEXT: AtomicU16 = AtomicU16::new(FIRST_PORT);
        let namespace = self.place.network_namespace_file();
        inside::within((!self.is_external()).then_some(&*namespace), || {
            let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
            let mut ports = std::iter::repeat_with(|| NEXT.fetch_add(1, Ordering::Relaxed)).take(MAX_PORTS);
            ports.find(is_free).context("no port is free")
        })
    }

    /// The cluster's network, where the cluster is our own.
    pub(crate) fn network_namespace_file(&self) -> PathBuf {
        self.place.network_namespace_file()
    }

    /// The certificate of who signs for the API server, where the cluster is our own.
    pub(crate) fn authority_file(&self) -> PathBuf {
        self.place.file("pki/ca.crt")
    }

    /// The certificate that the API server shows, and its key, where the cluster is our own.
    pub(crate) fn server_certificate_files(&self) -> (PathBuf, PathBuf) {
        (self.place.file("pki/apiserver.crt"), self.place.file("pki/apiserver.key"))
    }

    /// The API server's address inside the cluster's network, where the cluster is our own.
    pub fn server_inside(&self) -> Option<String> {
        (!self.is_external()).then(configuration::server_inside)
    }

    /// What runs, a line for each component.
    pub fn status(&self) -> anyhow::Result<String> {
        let mut lines = String::new();
        if self.external.is_none() {
            for component in components::ALL {
                let pid =
                    processes::pid(&self.place, component).map_or_else(|| "-".into(), |pid| pid.to_string());
                writeln!(lines, "{component:<24} {pid}")?;
            }
        }
        let nodes = self.kubectl()?.args(["get", "nodes"]).output()?;
        ensure!(nodes.status.success(), "kubectl get nodes: {}", String::from_utf8_lossy(&nodes.stderr));
        lines.push_str(&String::from_utf8_lossy(&nodes.stdout));
        Ok(lines)
    }

    fn failing_logs(&self) -> String {
        let mut text = String::new();
        for component in components::ALL {
            let alive = processes::is_alive(&self.place, component);
            let log =
                std::fs::read_to_string(processes::log_file(&self.place, component)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(if alive { 3 } else { 15 })..].join("\n  ");
            let _ = write!(text, "{component} ({}):\n  {tail}\n", if alive { "alive" } else { "dead" });
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_do_not_fit_paths_are_refused() {
        for name in ["", "Upper", "a/b", "..", &"x".repeat(21)] {
            assert!(Place::new(name).is_err(), "{name}");
        }
        assert!(Place::new("codecrucible").is_ok());
    }

    #[test]
    fn socket_paths_stay_below_the_systems_limit() {
        let place = Place::new(&"x".repeat(MAX_NAME_BYTES)).unwrap();
        assert!(place.containerd_socket().as_os_str().len() < 100);
    }
}
