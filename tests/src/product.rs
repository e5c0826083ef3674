//! Builds the product's images and installs the operator, as a platform team would.

use crate::cluster::Cluster;
use crate::image::Image;
use crate::paths;
use anyhow::{Context as _, ensure};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The target of images: static programs that run in an empty image.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Static, because an image holds nothing but the program; relocations packed, which would be a twentieth of what the
/// operator has in memory, and functions that are the same folded into one.
const FLAGS: &str =
    "-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs -C link-arg=-Wl,--icf=all";

/// One of the product's programs.
pub struct Program {
    name: &'static str,
    package: &'static str,
    /// How cargo builds it, which is also the name of the folder that it lies in.
    profile: &'static str,
}

/// The operator.
pub const OPERATOR: Program =
    Program { name: "operator", package: "codecrucible-operator", profile: "small" };
/// What it manages.
pub const WORKLOAD: Program =
    Program { name: "workload", package: "codecrucible-workload", profile: "release" };
/// `kubectl crucible`.
pub const PLUGIN: Program = Program { name: "kubectl-crucible", ..OPERATOR };

impl Program {
    /// Where it lies once it is built.
    pub fn path(&self) -> PathBuf {
        paths::repository().join("target").join(TARGET).join(self.profile).join(self.name)
    }

    /// Builds it and the others of its package, static and optimised. Does nothing when they are fresh.
    fn build(&self) -> anyhow::Result<()> {
        let built = Command::new("cargo")
            .current_dir(paths::repository())
            .args(["build", "--locked", "--profile", self.profile, "-p", self.package])
            // With a target of its own, so that build scripts and macros stay dynamic.
            .args(["--target", TARGET])
            .env("RUSTFLAGS", FLAGS)
            .env_remove("CARGO_TARGET_DIR")
            .status()
            .context("cargo does not start")?;
        ensure!(built.success(), "{} does not build", self.package);
        Ok(())
    }

    /// Writes an archive with its image, and gives its path.
    fn write_image(&self) -> anyhow::Result<PathBuf> {
        let folder = paths::repository().join("target/images");
        std::fs::create_dir_all(&folder)?;
        let (name, archive) = (self.name, folder.join(format!("{}.tar", self.name)));
        Image {
            name: format!("codecrucible.dev/{name}:dev"),
            files: vec![(format!("/{name}").into(), self.path(), 0o755)],
            entrypoint: vec![format!("/{name}")],
            user: "65532:65532".into(),
        }
        .write_archive(&archive)?;
        Ok(archive)
    }
}

/// Two clusters may be given the images at the same time.
static LOADING: Mutex<()> = Mutex::new(());

/// Builds the product. Does nothing when it is fresh.
pub fn build() -> anyhow::Result<()> {
    [OPERATOR, WORKLOAD].iter().try_for_each(Program::build)
}

/// Writes the images' archives and gives their paths.
pub fn write_images() -> anyhow::Result<Vec<PathBuf>> {
    [OPERATOR, WORKLOAD].iter().map(Program::write_image).collect()
}

/// Loads the images into a cluster's node. One that is not ours must have them already.
pub fn load_images(cluster: &Cluster) -> anyhow::Result<()> {
    if cluster.is_external() {
        println!("CLUSTER_KUBECONFIG is set: its nodes must have the images of target/images already");
        return Ok(());
    }
    // Whoever reads an archive must not find it half written by somebody else.
    let _alone = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    write_images()?.iter().try_for_each(|archive| cluster.load_image(archive))
}

/// Applies one of the kustomizations in `manifests`.
pub fn apply_manifests(cluster: &Cluster, folder: &str) -> anyhow::Result<()> {
    let manifests = paths::repository().join("manifests").join(folder);
    let applied = cluster
        .kubectl()?
        .args(["apply", "--server-side", "--force-conflicts", "-k"])
        .arg(manifests)
        .output()?;
    ensure!(applied.status.success(), "kubectl apply: {}", String::from_utf8_lossy(&applied.stderr));
    let established = ["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"];
    let waited = cluster.kubectl()?.args(established).output()?;
    ensure!(waited.status.success(), "kubectl wait: {}", String::from_utf8_lossy(&waited.stderr));
    Ok(())
}

/// Installs everything and waits until the operator serves.
pub fn install(cluster: &Cluster) -> anyhow::Result<()> {
    load_images(cluster)?;
    apply_manifests(cluster, ".")?;
    // The tag stays the same from build to build: what runs already would go on with the old one.
    let restart = ["-n", "codecrucible-system", "rollout", "restart", "deployment/codecrucible-operator"];
    let restarted = cluster.kubectl()?.args(restart).output()?;
    ensure!(
        restarted.status.success(),
        "kubectl rollout restart: {}",
        String::from_utf8_lossy(&restarted.stderr)
    );
    let rollout = [
        "-n",
        "codecrucible-system",
        "rollout",
        "status",
        "--timeout=120s",
        "deployment/codecrucible-operator",
    ];
    let rolled = cluster.kubectl()?.args(rollout).output()?;
    ensure!(
        rolled.status.success(),
        "the operator does not start: {}",
        String::from_utf8_lossy(&rolled.stderr)
    );
    Ok(())
}
