//! Makes the secrets that a configuration directory outside Kubernetes lacks. Inside, the operator does.

use super::Folders;
use anyhow::Context as _;
use codecrucible_contract::layout;
use codecrucible_contract::secrets::{self, SecretError};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Creates the signing key and the client's credentials where they are absent; what exists is kept.
pub fn initialize(folders: &Folders) -> anyhow::Result<()> {
    let key = folders.signing_keys.join(layout::FIRST_SIGNING_KEY_FILE);
    create(&key, secrets::signing_key_pem)?;
    create(&folders.client.join(layout::CLIENT_ID_FILE), || Ok("local".to_owned()))?;
    create(&folders.client.join(layout::CLIENT_SECRET_FILE), secrets::random_token)?;
    std::fs::create_dir_all(&folders.backend_credentials)?;
    Ok(())
}

fn create(path: &Path, content: impl FnOnce() -> Result<String, SecretError>) -> anyhow::Result<()> {
    if path.exists() {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(content()?.as_bytes())?;
    Ok(())
}
