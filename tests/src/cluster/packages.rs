//! Programs that come from Debian.

use anyhow::{Context as _, bail, ensure};
use std::path::Path;
use std::process::Command;

/// A file that the package brings, and the package.
const NEEDED: [(&str, &str); 8] = [
    ("/usr/bin/containerd", "containerd"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/lib/cni/ptp", "containernetworking-plugins"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/sbin/conntrack", "conntrack"),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/bin/nsenter", "util-linux"),
    // Real counters for tests; with it comes redis-cli.
    ("/usr/bin/redis-server", "redis-server"),
];

/// Installs what is missing, and says so.
pub(super) fn install_missing() -> anyhow::Result<()> {
    // Fetches model files and the official SDK that the suite runs.
    let has_pip = Command::new("python3")
        .args(["-m", "pip", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    let is_present =
        |path: &str| Path::new(path).exists() || Path::new(&path.replace("/sbin/", "/bin/")).exists();
    let mut missing: Vec<&str> =
        NEEDED.iter().filter(|(path, _)| !is_present(path)).map(|(_, package)| *package).collect();
    if !has_pip {
        missing.extend(["python3", "python3-pip"]);
    }
    if missing.is_empty() {
        return Ok(());
    }
    ensure!(
        nix::unistd::geteuid().is_root(),
        "Debian packages are missing, and only root can install them: {missing:?}"
    );
    println!("installing Debian packages: {}", missing.join(" "));
    run(&["update", "-qq"])?;
    run(&[&["install", "-y", "-qq", "--no-install-recommends"], missing.as_slice()].concat())
}

fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let done = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .context("apt-get does not start: is this Debian?")?;
    if !done.status.success() {
        bail!("apt-get {}: {}", arguments.join(" "), String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}
