//! What pods and nodes use, for autoscalers: metrics-server, only where a test needs it.

use super::binaries::Binaries;
use super::network::{NODE_ADDRESS, inside};
use super::{Cluster, processes};
use crate::wait;
use std::time::Duration;

/// The process's name.
pub(super) const COMPONENT: &str = "metrics-server";
/// Its port on the node.
const PORT: u16 = 4443;
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
            self.apply(&manifests())?;
        }
        wait::until("figures of the node", Duration::from_secs(LIMIT_SECONDS), || {
            Ok(self.kubectl()?.args(["top", "node"]).output()?.status.success())
        })
    }
}

/// It runs as a process of the node, not as a pod.
fn manifests() -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: metrics-server, namespace: kube-system}}
spec: {{ports: [{{name: https, port: 443, targetPort: {PORT}, protocol: TCP}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: metrics-server, namespace: kube-system, labels: {{kubernetes.io/service-name: metrics-server}}}}
addressType: IPv4
endpoints: [{{addresses: ['{NODE_ADDRESS}'], conditions: {{ready: true}}}}]
ports: [{{name: https, port: {PORT}, protocol: TCP}}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {{name: v1beta1.metrics.k8s.io}}
spec:
  group: metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {{name: metrics-server, namespace: kube-system}}
"
    )
}
