//! Certificates that are issued and renewed by cert-manager: its own controllers, only where a test needs them.

use super::binaries::Binaries;
use super::network::inside;
use super::{Cluster, processes};
use crate::paths;
use anyhow::{Context as _, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The process's name, and that of the program's module.
const COMPONENT: &str = "cert-manager";
/// The module that has its resources' definitions.
const MODULE: &str = "github.com/cert-manager/cert-manager";

impl Cluster {
    /// Starts it, unless it runs. A cluster that is not ours has its own.
    pub fn serve_certificates(&self) -> anyhow::Result<()> {
        if self.is_external() {
            return Ok(());
        }
        self.define_certificates()?;
        if processes::is_alive(&self.place, COMPONENT) {
            return Ok(());
        }
        let mut command = inside(&self.place, Binaries::for_tests()?.path(COMPONENT));
        command.arg("--kubeconfig").arg(self.place.file("cert-manager.kubeconfig"));
        processes::start(&self.place, COMPONENT, &command)
    }

    /// Has the API server serve what cert-manager is asked for, without anybody who does it.
    pub fn define_certificates(&self) -> anyhow::Result<()> {
        let folder = definitions()?;
        let mut kubectl = self.kubectl()?;
        kubectl.args(["apply", "--server-side", "-f"]).arg(&folder);
        let applied = kubectl.output()?;
        ensure!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
        let established =
            ["wait", "--for=condition=Established", "--timeout=60s", "crd", "certificates.cert-manager.io"];
        let waited = self.kubectl()?.args(established).output()?;
        ensure!(waited.status.success(), "{}", String::from_utf8_lossy(&waited.stderr));
        Ok(())
    }
}

/// The folder with the definitions, of the version that the program is built from.
fn definitions() -> anyhow::Result<PathBuf> {
    let module = paths::repository().join("tests/tools").join(COMPONENT);
    let mut go = Command::new("go");
    go.current_dir(module).args(["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", MODULE]);
    let listed = go.env("GOTOOLCHAIN", "local").output().context("the command `go` does not start")?;
    ensure!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let folder = String::from_utf8(listed.stdout)?;
    ensure!(!folder.trim().is_empty(), "{MODULE} is not fetched");
    Ok(Path::new(folder.trim()).join("deploy/crds"))
}
