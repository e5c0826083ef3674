//! The components' programs: given, cached, or built once with Go from the pinned modules in `tests/tools`.

use crate::paths;
use anyhow::{Context as _, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Version of Kubernetes; the Go module pins the same.
const KUBERNETES_VERSION: &str = "v1.36.3";

/// Program, module folder, package.
const PROGRAMS: [(&str, &str, &str); 11] = [
    ("etcd", "etcd", "."),
    ("coredns", "coredns", "."),
    ("pause", "kubernetes", "./cmd/pause"),
    ("kubectl", "kubernetes", "./cmd/kubectl"),
    ("kube-apiserver", "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kubelet", "kubernetes", "k8s.io/kubernetes/cmd/kubelet"),
    ("kube-controller-manager", "kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    ("kube-scheduler", "kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler"),
    ("kube-proxy", "kubernetes", "k8s.io/kubernetes/cmd/kube-proxy"),
    ("helm", "helm", "helm.sh/helm/v4/cmd/helm"),
    ("metrics-server", "metrics-server", "sigs.k8s.io/metrics-server/cmd/metrics-server"),
];

/// A folder that holds all programs.
pub(super) struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// The folder `KUBEBUILDER_ASSETS`, else the cache, into which missing programs are built.
    pub(super) fn locate_or_build() -> anyhow::Result<Self> {
        if let Some(folder) = std::env::var_os("KUBEBUILDER_ASSETS") {
            let given = Self { folder: folder.into() };
            let missing = given.missing();
            ensure!(missing.is_empty(), "KUBEBUILDER_ASSETS lacks {missing:?}");
            return Ok(given);
        }
        let cached = Self { folder: paths::cache()?.join(format!("cluster-{KUBERNETES_VERSION}")) };
        let missing = cached.missing();
        for (index, name) in missing.iter().enumerate() {
            cached.build(name, index + 1, missing.len())?;
        }
        Ok(cached)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn missing(&self) -> Vec<&'static str> {
        PROGRAMS.iter().map(|(name, ..)| *name).filter(|name| !self.path(name).is_file()).collect()
    }

    fn build(&self, name: &str, number: usize, of: usize) -> anyhow::Result<()> {
        let Some((_, module, package)) = PROGRAMS.iter().find(|(program, ..)| *program == name) else {
            bail!("{name} is not one of the programs");
        };
        println!("[{number}/{of}] building {name} with Go (the API server takes minutes, the rest less)");
        let start = Instant::now();
        std::fs::create_dir_all(&self.folder)?;
        // Built under another name, so that an interrupted build is not taken for a finished one.
        let unfinished = self.folder.join(format!("{name}.unfinished"));
        build(&paths::repository().join("tests/tools").join(module), package, &unfinished)
            .with_context(|| format!("{name} does not build"))?;
        std::fs::rename(&unfinished, self.path(name))?;
        println!("[{number}/{of}] {name} built in {} s", start.elapsed().as_secs());
        Ok(())
    }
}

fn build(module: &Path, package: &str, output: &Path) -> anyhow::Result<()> {
    let version = "k8s.io/component-base/version";
    let (major, minor) = ("1", "36");
    let linker_flags = format!(
        "-s -w -X {version}.gitVersion={KUBERNETES_VERSION} -X {version}.gitMajor={major} -X {version}.gitMinor={minor}"
    );
    let built = Command::new("go")
        .current_dir(module)
        .args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", &linker_flags, "-o"])
        .arg(output)
        .arg(package)
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "local")
        .status()
        .context("Go 1.26 is needed; the command `go` does not start")?;
    ensure!(built.success(), "go build failed");
    Ok(())
}
