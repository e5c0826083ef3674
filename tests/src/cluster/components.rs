//! Starts the components, each with its command line.

use super::binaries::Binaries;
use super::certificates::FRONT_PROXY_NAME;
use super::configuration::{POD_RANGE, SERVICE_RANGE};
use super::network::{NODE_ADDRESS, inside};
use super::{Place, processes};
use crate::wait;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Every long-running process of a cluster.
pub(super) const ALL: [&str; 9] = [
    "etcd",
    "containerd",
    "kube-apiserver",
    "forward",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
];
/// Longest time for the API server to answer, seconds.
const API_SERVER_SECONDS: u64 = 60;
/// Longest time for containerd to listen, seconds.
const CONTAINERD_SECONDS: u64 = 20;

/// Starts everything; what needs the API server starts when it answers.
pub(super) fn start_all(place: &Place, binaries: &Binaries, forward_port: u16) -> anyhow::Result<()> {
    create_cgroups(place)?;
    let start = |name: &str, command: &mut Command| processes::start(place, name, command);
    start("etcd", &mut etcd(place, binaries))?;
    start("containerd", inside(place, "containerd").arg("--config").arg(place.file("containerd.toml")))?;
    start("kube-apiserver", &mut api_server(place, binaries))?;
    start("forward", &mut forward(place, forward_port)?)?;
    wait::until("the API server", Duration::from_secs(API_SERVER_SECONDS), || {
        let mut kubectl = Command::new(binaries.path("kubectl"));
        let ready =
            kubectl.arg("--kubeconfig").arg(place.kubeconfig()).args(["get", "--raw", "/readyz"]).output()?;
        Ok(ready.status.success())
    })?;
    start("kube-controller-manager", &mut controller_manager(place, binaries))?;
    start(
        "kube-scheduler",
        with_kubeconfig(inside(place, binaries.path("kube-scheduler")), place, "scheduler")
            .arg("--leader-elect=false"),
    )?;
    wait::until("containerd", Duration::from_secs(CONTAINERD_SECONDS), || {
        Ok(place.containerd_socket().exists())
    })?;
    start("kubelet", &mut kubelet(place, binaries))?;
    start(
        "kube-proxy",
        inside(place, binaries.path("kube-proxy")).arg("--config").arg(place.file("kube-proxy.yaml")),
    )?;
    start("coredns", inside(place, binaries.path("coredns")).arg("-conf").arg(place.file("Corefile")))
}

fn etcd(place: &Place, binaries: &Binaries) -> Command {
    let mut command = inside(place, binaries.path("etcd"));
    command
        .arg("--data-dir")
        .arg(place.file("etcd"))
        .args(["--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379"])
        .args([
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        ])
        .args(["--initial-cluster=default=http://127.0.0.1:2380", "--log-level=warn"])
        // The cluster does not outlive a crash of the machine, so nothing needs to reach the disk at once.
        .arg("--unsafe-no-fsync");
    command
}

fn api_server(place: &Place, binaries: &Binaries) -> Command {
    let pki = |name: &str| place.file("pki").join(name).display().to_string();
    let mut command = inside(place, binaries.path("kube-apiserver"));
    command.args([
        "--etcd-servers=http://127.0.0.1:2379".to_owned(),
        "--bind-address=0.0.0.0".to_owned(),
        "--secure-port=6443".to_owned(),
        format!("--advertise-address={NODE_ADDRESS}"),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged=true".to_owned(),
        format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        format!("--client-ca-file={}", pki("ca.crt")),
        format!("--tls-cert-file={}", pki("apiserver.crt")),
        format!("--tls-private-key-file={}", pki("apiserver.key")),
        format!("--kubelet-certificate-authority={}", pki("ca.crt")),
        format!("--kubelet-client-certificate={}", pki("apiserver-kubelet.crt")),
        format!("--kubelet-client-key={}", pki("apiserver-kubelet.key")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", pki("service-accounts.pub")),
        format!("--service-account-signing-key-file={}", pki("service-accounts.key")),
        format!("--audit-policy-file={}", place.file("audit-policy.yaml").display()),
        format!("--audit-log-path={}", place.file("audit.log").display()),
    ]);
    // For API servers that extend this one, such as metrics-server.
    command.args([
        format!("--requestheader-client-ca-file={}", pki("front-proxy-ca.crt")),
        format!("--requestheader-allowed-names={FRONT_PROXY_NAME}"),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        format!("--proxy-client-cert-file={}", pki("front-proxy.crt")),
        format!("--proxy-client-key-file={}", pki("front-proxy.key")),
    ]);
    command
}

fn controller_manager(place: &Place, binaries: &Binaries) -> Command {
    let pki = |name: &str| place.file("pki").join(name).display().to_string();
    let mut command = inside(place, binaries.path("kube-controller-manager"));
    with_kubeconfig(
        command.args(["--leader-elect=false", "--use-service-account-credentials=true"]),
        place,
        "controller-manager",
    );
    command.args([
        format!("--root-ca-file={}", pki("ca.crt")),
        format!("--service-account-private-key-file={}", pki("service-accounts.key")),
        format!("--cluster-cidr={POD_RANGE}"),
        format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        "--allocate-node-cidrs=false".to_owned(),
    ]);
    command
}

fn kubelet(place: &Place, binaries: &Binaries) -> Command {
    let mut command = inside(place, binaries.path("kubelet"));
    with_kubeconfig(&mut command, place, "kubelet");
    command.arg("--config").arg(place.file("kubelet.yaml")).arg("--root-dir").arg(place.file("kubelet"));
    command.arg("--cert-dir").arg(place.file("kubelet-pki"));
    command.args([format!("--node-ip={NODE_ADDRESS}"), "--hostname-override=node".to_owned()]);
    command
}

fn with_kubeconfig<C: std::borrow::BorrowMut<Command>>(mut command: C, place: &Place, user: &str) -> C {
    command.borrow_mut().arg("--kubeconfig").arg(place.file(&format!("{user}.kubeconfig")));
    command
}

/// The forward is this crate's own program `cluster`, which lies beside a test's program or is this one.
fn forward(place: &Place, port: u16) -> anyhow::Result<Command> {
    let mut command = Command::new(super::forward::program()?);
    command.args([
        "forward",
        "--listen",
        &format!("127.0.0.1:{port}"),
        "--target",
        "127.0.0.1:6443",
        "--namespace",
    ]);
    command.arg(place.network_namespace_file());
    Ok(command)
}

/// The folders in every control-group hierarchy below which the kubelet works.
pub(super) fn cgroup_folders(place: &Place) -> Vec<std::path::PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let is_hierarchy = |folder: &std::path::PathBuf| folder.join("cgroup.procs").exists();
    let mounted = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    // Version 2 is one hierarchy at the root; in version 1 the root holds one folder for each.
    let roots = if is_hierarchy(&root.to_owned()) {
        vec![root.to_owned()]
    } else {
        mounted.filter(is_hierarchy).collect()
    };
    roots.into_iter().map(|folder| folder.join(place.cgroup())).collect()
}

fn create_cgroups(place: &Place) -> anyhow::Result<()> {
    for folder in cgroup_folders(place) {
        fs::create_dir_all(&folder)?;
        // In version 1 a new group has no processors and no memory nodes until it is given its parent's.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let parent = folder.parent().map(|parent| parent.join(file));
            if let Some(value) = parent.filter(|file| file.exists()).map(fs::read_to_string).transpose()? {
                fs::write(folder.join(file), value.trim())?;
            }
        }
    }
    Ok(())
}
