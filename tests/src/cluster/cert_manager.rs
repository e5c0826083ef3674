//! Certificates that are issued and renewed by cert-manager: its own controllers, only where a test needs them.

use super::binaries::Binaries;
use super::modules;
use super::network::inside;
use super::{Cluster, processes};

/// The process's name, and that of the program's module.
pub(super) const COMPONENT: &str = "cert-manager";
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
        let folder = modules::folder(COMPONENT, MODULE)?.join("deploy/crds");
        modules::define(self, &folder, "certificates.cert-manager.io")
    }
}
