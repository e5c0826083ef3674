//! What the pods and the rest agree on: ports and folders.

/// Port of the public API.
pub(crate) const PUBLIC_PORT: u16 = 8080;
/// Port of probes and metrics.
pub(crate) const ADMIN_PORT: u16 = 9090;
/// Port where replicas tell the operator what they applied.
pub(crate) const STATUS_PORT: u16 = 9443;
/// Where the configuration is mounted.
pub(crate) const CONFIGURATION_FOLDER: &str = "/etc/codecrucible";
/// Where the volumes of embedded models are mounted.
pub(crate) const MODELS_FOLDER: &str = "/models";
/// With it, a workload speaks TLS with clients.
pub(crate) const TLS_ARGUMENT: &str = "--tls";
/// Where a pod keeps answers on its node's disk.
pub(crate) const ANSWERS_FOLDER: &str = "/var/cache/codecrucible";
/// What a pod may take of its disk beyond its answers, such as for its log, bytes.
pub(crate) const DISK_RESERVE_BYTES: u64 = 128 << 20;
