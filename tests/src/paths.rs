//! Where things lie on this machine.

use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// The repository's root.
pub fn repository() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// The cache for what is built or fetched once: `CODECRUCIBLE_CACHE`, else below the user's cache folder.
pub fn cache() -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("CODECRUCIBLE_CACHE") {
        return Ok(folder.into());
    }
    if let Some(folder) = std::env::var_os("XDG_CACHE_HOME") {
        return Ok(PathBuf::from(folder).join("codecrucible"));
    }
    let home = std::env::var_os("HOME").context("neither CODECRUCIBLE_CACHE nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/codecrucible"))
}

/// The Rust files of a folder and those below it.
pub fn sources(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}
