//! Where traces are told: an OpenTelemetry Collector, which writes them into a file, only where a test needs it.

use super::binaries::Binaries;
use super::network::{NODE_ADDRESS, inside};
use super::{Cluster, processes};
use anyhow::{Context as _, ensure};
use codecrucible_contract::certificates::Certified;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// The process's name.
pub(super) const COMPONENT: &str = "collector";
/// The port that OTLP over HTTP has by convention.
const PORT: u16 = 4318;
/// The same without TLS.
const PLAIN_PORT: u16 = 4319;

/// A collector that runs.
pub struct Collector {
    told: PathBuf,
}

impl Cluster {
    /// Starts one that shows a certificate, anew if one runs.
    pub fn collect_traces(&self, shown: &Certified) -> anyhow::Result<Collector> {
        ensure!(!self.is_external(), "a cluster of somebody else has a collector of its own");
        processes::stop(&self.place, COMPONENT);
        let (certificate, key) = (self.place.file("collector.crt"), self.place.file("collector.key"));
        fs::write(&certificate, &shown.certificate)?;
        fs::write(&key, &shown.key)?;
        let told = self.place.file("traces.json");
        let _ = fs::remove_file(&told);
        let http = json!({"endpoint": format!("{NODE_ADDRESS}:{PORT}"), "tls": {"cert_file": certificate, "key_file": key}});
        let configuration = json!({
            "receivers": {
                "otlp": {"protocols": {"http": http}},
                "otlp/plain": {"protocols": {"http": {"endpoint": format!("{NODE_ADDRESS}:{PLAIN_PORT}")}}},
            },
            "exporters": {"file": {"path": told, "flush_interval": "100ms"}},
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"traces": {"receivers": ["otlp", "otlp/plain"], "exporters": ["file"]}},
            },
        });
        let mut command = inside(&self.place, Binaries::for_tests()?.path(COMPONENT));
        command.arg(format!("--config=yaml:{configuration}"));
        processes::start(&self.place, COMPONENT, &command)?;
        Ok(Collector { told })
    }
}

impl Collector {
    /// The address that a certificate must be for.
    pub const HOST: &str = NODE_ADDRESS;

    /// Where it is told.
    pub fn endpoint() -> String {
        format!("https://{NODE_ADDRESS}:{PORT}")
    }

    /// The same without TLS.
    pub fn plain_endpoint() -> String {
        format!("http://{NODE_ADDRESS}:{PLAIN_PORT}")
    }

    /// What it was told so far: a document for each batch.
    pub fn told(&self) -> anyhow::Result<Vec<Value>> {
        let text = fs::read_to_string(&self.told).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).context("not a batch")).collect()
    }
}
