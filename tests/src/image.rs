//! Container images without a builder: a few files in an archive that any runtime imports.
//!
//! The archive is an OCI image layout, and the same input gives the same bytes.

use anyhow::Context as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// An image made of nothing but the given files.
pub struct Image {
    /// Name and tag, such as `codecrucible.dev/workload:dev`.
    pub name: String,
    /// Path in the image, path here, mode.
    pub files: Vec<(PathBuf, PathBuf, u32)>,
    /// What runs.
    pub entrypoint: Vec<String>,
    /// `user:group`.
    pub user: String,
}

impl Image {
    /// Writes the archive.
    pub fn write_archive(&self, to: &Path) -> anyhow::Result<()> {
        let layer = self.layer()?;
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "config": {"Entrypoint": self.entrypoint, "User": self.user, "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        let manifest = manifest.to_string().into_bytes();
        let mut in_index = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        in_index["annotations"] =
            json!({"io.containerd.image.name": self.name, "org.opencontainers.image.ref.name": self.name});
        let index = json!({"schemaVersion": 2, "manifests": [in_index]}).to_string().into_bytes();

        let mut archive = tar::Builder::new(File::create(to)?);
        append(&mut archive, Path::new("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;
        append(&mut archive, Path::new("index.json"), &index, 0o644)?;
        for blob in [&manifest, &config, &layer] {
            let name = digest(blob).replace(':', "/");
            append(&mut archive, &Path::new("blobs").join(name), blob, 0o644)?;
        }
        archive.finish()?;
        Ok(())
    }

    fn layer(&self) -> anyhow::Result<Vec<u8>> {
        let mut layer = tar::Builder::new(Vec::new());
        for (inside, here, mode) in &self.files {
            let content = fs::read(here).with_context(|| format!("cannot read {}", here.display()))?;
            append(&mut layer, inside.strip_prefix("/").unwrap_or(inside), &content, *mode)?;
        }
        Ok(layer.into_inner()?)
    }
}

fn append<W: Write>(
    archive: &mut tar::Builder<W>,
    name: &Path,
    content: &[u8],
    mode: u32,
) -> anyhow::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    archive.append_data(&mut header, name, content)?;
    Ok(())
}

fn digest(bytes: &[u8]) -> String {
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hash}")
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_give_the_same_archive() {
        let folder = std::env::temp_dir().join(format!("codecrucible-image-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("program"), b"x").unwrap();
        let image = Image {
            name: "example.test/x:1".into(),
            files: vec![("/program".into(), folder.join("program"), 0o755)],
            entrypoint: vec!["/program".into()],
            user: "65532:65532".into(),
        };
        let archive = |name: &str| {
            image.write_archive(&folder.join(name)).unwrap();
            fs::read(folder.join(name)).unwrap()
        };
        let first = archive("1.tar");
        assert_eq!(first, archive("2.tar"));
        assert!(String::from_utf8_lossy(&first).contains("example.test/x:1"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
