//! What pods and nodes use, for autoscalers: metrics-server, only where a test needs it.

use super::binaries::Binaries;
use super::extension::Extension;
use super::network::inside;
use super::{Cluster, processes};
use crate::wait;
use std::time::Duration;

/// The process's name.
pub(super) const COMPONENT: &str = "metrics-server";
/// Its port on the node.
const PORT: u16 = 4443;
/// What it serves.
const EXTENSION: Extension<'_> =
    Extension { name: COMPONENT, port: PORT, group: "metrics.k8s.io", versions: &["v1beta1"] };
/// Longest time until there are figures, seconds.
const LIMIT_SECONDS: u64 = 120;

impl Cluster {
    /// Starts it, unless it runs, and waits until it has figures. A cluster that is not ours has its own.
    pub fn serve_metrics(&self) -> anyhow::Result<()> {
        if !self.is_external() && !processes::is_alive(&self.place, COMPONENT) {
            let mut command = inside(&self.place, Binaries::for_tests()?.path(COMPONENT));
            command.arg("--kubeconfig").arg(self.place.file("metrics-server.kubeconfig"));
            command.arg("--authentication-kubeconfig").arg(self.place.file("metrics-server.kubeconfig"));
            command.arg("--authorization-kubeconfig").arg(self.place.file("metrics-server.kubeconfig"));
            command.arg("--cert-dir").arg(self.place.file("metrics-server-pki"));
            command.args([
                &format!("--secure-port={PORT}"),
                "--kubelet-insecure-tls",
                "--kubelet-use-node-status-port",
                "--kubelet-preferred-address-types=InternalIP",
                "--metric-resolution=10s",
                "--kubelet-request-timeout=5s",
            ]);
            processes::start(&self.place, COMPONENT, &command)?;
            self.extend(&EXTENSION)?;
        }
        wait::until("figures of the node", Duration::from_secs(LIMIT_SECONDS), || {
            Ok(self.kubectl()?.args(["top", "node"]).output()?.status.success())
        })
    }
}
