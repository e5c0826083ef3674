//! API servers that extend the cluster's own: processes of the node, not pods.

use super::Cluster;
use super::network::NODE_ADDRESS;
use std::fmt::Write as _;

/// One of them.
pub(super) struct Extension<'a> {
    pub(super) name: &'a str,
    /// Its port on the node.
    pub(super) port: u16,
    /// What it serves.
    pub(super) group: &'a str,
    pub(super) versions: &'a [&'a str],
}

impl Cluster {
    /// Has the API server pass on what concerns it.
    pub(super) fn extend(&self, extension: &Extension<'_>) -> anyhow::Result<()> {
        self.apply(&manifests(extension)?)
    }
}

fn manifests(extension: &Extension<'_>) -> anyhow::Result<String> {
    let Extension { name, port, group, versions } = extension;
    let mut manifests = format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: kube-system}}
spec: {{ports: [{{name: https, port: 443, targetPort: {port}, protocol: TCP}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, namespace: kube-system, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
endpoints: [{{addresses: ['{NODE_ADDRESS}'], conditions: {{ready: true}}}}]
ports: [{{name: https, port: {port}, protocol: TCP}}]
"
    );
    for version in *versions {
        write!(
            manifests,
            "---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {{name: {version}.{group}}}
spec:
  group: {group}
  version: {version}
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {{name: {name}, namespace: kube-system}}
"
        )?;
    }
    Ok(manifests)
}
