//! A pod's volume that stays as it is, as on a node whose disk fails.

use anyhow::{Context as _, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// As long as it lives, the kubelet can change nothing in the folder.
pub struct HeldVolume(PathBuf);

impl HeldVolume {
    pub(super) fn hold(folder: PathBuf) -> anyhow::Result<Self> {
        set(&folder, "+i").with_context(|| format!("{} cannot be held", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for HeldVolume {
    fn drop(&mut self) {
        let _ = set(&self.0, "-i");
    }
}

fn set(folder: &Path, flag: &str) -> anyhow::Result<()> {
    let set = Command::new("chattr").arg(flag).arg(folder).output()?;
    ensure!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr).trim());
    Ok(())
}
