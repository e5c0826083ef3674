//! Other projects' programs from the Python registry, installed into the cache, each at the version that the comparison was written against.

use anyhow::{Context as _, ensure};
use codecrucible_tests::{paths, wait};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Set by `make bench-peers`: install peers that are not there.
const INSTALL: &str = "INSTALL_PEERS";
/// Longest time that a peer may take to start, seconds.
const START_SECONDS: u64 = 120;

/// The folder of a peer's packages, such as `litellm[proxy]==1.0`, if it is there or to be installed; `module` is one of its packages.
pub fn peer(requirement: &str, module: &str) -> anyhow::Result<Option<PathBuf>> {
    let folder = paths::cache()?.join("peers").join(requirement);
    if folder.join(module).is_dir() {
        return Ok(Some(folder));
    }
    if std::env::var_os(INSTALL).is_none() {
        println!("{requirement} is not at hand; `make bench-peers` installs it for the comparison");
        return Ok(None);
    }
    println!("installing {requirement}, which takes minutes");
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement, "--target"];
    let installed = Command::new("python3").args(install).arg(&folder).status()?;
    ensure!(installed.success(), "{requirement} cannot be installed");
    Ok(Some(folder))
}

/// A peer's server in a process of its own, on one processor. It ends with the value.
pub struct PeerServer {
    /// Where it listens.
    pub address: SocketAddr,
    process: Child,
}

impl PeerServer {
    /// Starts a program of a peer; `arguments` are told its port, and `health` is a path that it answers well when it serves.
    pub fn start(
        processor: usize,
        (packages, program): (&Path, &str),
        environment: Option<(&str, &str)>,
        arguments: impl FnOnce(u16) -> Vec<String>,
        health: &str,
    ) -> anyhow::Result<Self> {
        // Free for the moment.
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let process = Command::new("taskset")
            .args(["--cpu-list", &processor.to_string(), "python3"])
            .arg(packages.join("bin").join(program))
            .args(arguments(address.port()))
            .env("PYTHONPATH", packages)
            .envs(environment)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("taskset")?;
        let mut server = Self { address, process };
        let url = format!("http://{address}{health}");
        wait::until("a peer that serves", Duration::from_secs(START_SECONDS), || {
            ensure!(server.process.try_wait()?.is_none(), "the peer ended");
            Ok(reqwest::blocking::get(&url).is_ok_and(|answer| answer.status().is_success()))
        })?;
        Ok(server)
    }

    /// Processor time that it has taken.
    pub fn processor_time(&self) -> anyhow::Result<Duration> {
        let clock = clock_getcpuclockid(Pid::from_raw(self.process.id().try_into()?))?;
        Ok(clock.now()?.into())
    }
}

impl Drop for PeerServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
