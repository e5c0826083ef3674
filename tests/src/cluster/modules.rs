//! Definitions of resources, as the Go modules have them that the tools pin.

use super::Cluster;
use crate::{paths, wait};
use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Longest wait until definitions are served, seconds.
const SERVED_SECONDS: u64 = 60;

/// Where a module is, which is fetched if it is not there yet. `tools`: the folder that pins its version.
pub(super) fn folder(tools: &str, module: &str) -> anyhow::Result<PathBuf> {
    let mut go = Command::new("go");
    go.current_dir(paths::repository().join("tests/tools").join(tools));
    go.args(["mod", "download", "-json", module]).env("GOFLAGS", "-mod=readonly").env("GOTOOLCHAIN", "local");
    let fetched = go.output().context("the command `go` does not start")?;
    ensure!(fetched.status.success(), "{module}: {}", String::from_utf8_lossy(&fetched.stderr));
    let told: Value = serde_json::from_slice(&fetched.stdout)?;
    Ok(PathBuf::from(told["Dir"].as_str().context("no folder was named")?))
}

/// Applies all definitions of a folder, and waits until one of them is served.
pub(super) fn define(cluster: &Cluster, folder: &Path, definition: &str) -> anyhow::Result<()> {
    let mut apply = cluster.kubectl()?;
    apply.args(["apply", "--server-side"]);
    for entry in std::fs::read_dir(folder)? {
        let file = entry?.path();
        // A folder may have more than definitions: a kustomization's list of them.
        if std::fs::read_to_string(&file)?.contains("kind: CustomResourceDefinition\n") {
            apply.arg("-f").arg(file);
        }
    }
    let applied = apply.output()?;
    ensure!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    wait::until("the definitions are served", Duration::from_secs(SERVED_SECONDS), || {
        // One that was made only now has no conditions to wait for.
        let established = ["wait", "--for=condition=Established", "--timeout=1s", "crd", definition];
        Ok(cluster.kubectl()?.args(established).output()?.status.success())
    })
}
