//! What pods tell of themselves, for autoscalers: Prometheus, which reads it, and its adapter, which serves it, with what the product's
//! manifests say to both; only where a test needs them.

use super::binaries::Binaries;
use super::extension::Extension;
use super::network::inside;
use super::{Cluster, processes};
use crate::paths;
use anyhow::ensure;
use std::fs;

/// The processes' names.
pub(super) const COMPONENTS: [&str; 2] = ["prometheus-adapter", "prometheus"];
/// Whose rights they have.
const USER: &str = "monitoring";
/// Where Prometheus listens, inside the node.
const PROMETHEUS: &str = "127.0.0.1:9091";
/// What the adapter serves, and on which port of the node.
const EXTENSION: Extension<'_> = Extension {
    name: COMPONENTS[0],
    port: 4444,
    group: "custom.metrics.k8s.io",
    versions: &["v1beta1", "v1beta2"],
};

impl Cluster {
    /// Starts both, unless they run. A cluster that is not ours has its own.
    pub fn serve_requests_in_flight(&self) -> anyhow::Result<()> {
        ensure!(!self.is_external(), "a cluster of somebody else has metrics of its own");
        if COMPONENTS.iter().all(|name| processes::is_alive(&self.place, name)) {
            return Ok(());
        }
        let manifests = paths::repository().join("manifests/monitoring");
        let kubeconfig = self.place.file(&format!("{USER}.kubeconfig"));
        let said = fs::read_to_string(manifests.join("prometheus.yaml"))?;
        // Outside a pod it must be told where the API server is; and a test need not wait for long.
        let role = "  - role: pod\n";
        ensure!(said.contains(role), "prometheus.yaml does not look for pods");
        let here = format!("{role}    kubeconfig_file: {}\n", kubeconfig.display());
        let configuration = self.place.file("prometheus.yaml");
        fs::write(&configuration, format!("global: {{scrape_interval: 1s}}\n{}", said.replace(role, &here)))?;

        let binaries = Binaries::for_tests()?;
        let mut prometheus = inside(&self.place, binaries.path("prometheus"));
        prometheus.arg("--config.file").arg(configuration);
        prometheus.arg("--storage.tsdb.path").arg(self.place.file("prometheus-data"));
        prometheus.args(["--web.listen-address", PROMETHEUS]);
        processes::start(&self.place, "prometheus", &prometheus)?;

        let mut adapter = inside(&self.place, binaries.path("prometheus-adapter"));
        adapter.arg("--config").arg(manifests.join("prometheus-adapter.yaml"));
        for rights in ["--lister-kubeconfig", "--authentication-kubeconfig", "--authorization-kubeconfig"] {
            adapter.arg(rights).arg(&kubeconfig);
        }
        adapter.arg("--cert-dir").arg(self.place.file("prometheus-adapter-pki"));
        adapter.args([
            &format!("--secure-port={}", EXTENSION.port),
            &format!("--prometheus-url=http://{PROMETHEUS}"),
            "--metrics-relist-interval=5s",
            "--metrics-max-age=1m",
        ]);
        processes::start(&self.place, "prometheus-adapter", &adapter)?;
        self.extend(&EXTENSION)
    }
}
