//! The components' programs: given, cached, or built once with Go from the pinned modules in `tests/tools`.

use crate::paths;
use anyhow::{Context as _, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Version of Kubernetes; the Go module pins the same.
const KUBERNETES_VERSION: &str = "v1.36.3";

/// A program, its module's folder, its package.
type Program = (&'static str, &'static str, &'static str);

/// What a cluster is made of.
const OF_CLUSTERS: [Program; 9] = [
    ("etcd", "etcd", "."),
    ("coredns", "coredns", "."),
    ("pause", "kubernetes", "./cmd/pause"),
    ("kubectl", "kubernetes", "./cmd/kubectl"),
    ("kube-apiserver", "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kubelet", "kubernetes", "k8s.io/kubernetes/cmd/kubelet"),
    ("kube-controller-manager", "kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    ("kube-scheduler", "kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler"),
    ("kube-proxy", "kubernetes", "k8s.io/kubernetes/cmd/kube-proxy"),
];
/// What only tests need.
const FOR_TESTS: [Program; 8] = [
    ("helm", "helm", "helm.sh/helm/v4/cmd/helm"),
    ("metrics-server", "metrics-server", "sigs.k8s.io/metrics-server/cmd/metrics-server"),
    ("cert-manager", "cert-manager", "."),
    ("traefik", "traefik", "github.com/traefik/traefik/v3/cmd/traefik"),
    ("collector", "collector", "."),
    ("prometheus", "prometheus", "github.com/prometheus/prometheus/cmd/prometheus"),
    ("prometheus-adapter", "prometheus-adapter", "sigs.k8s.io/prometheus-adapter/cmd/adapter"),
    ("kubeconform", "kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform"),
];
/// Prometheus alone knows them: it finds pods, and not what twenty clouds have.
const TAGS: &str = "remove_all_sd,enable_kubernetes_sd";
/// Two builds of one program at the same time would be in each other's way.
static BUILDING: Mutex<()> = Mutex::new(());

/// A folder that holds all programs.
pub(super) struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Those of a cluster: in the folder `KUBEBUILDER_ASSETS`, else in the cache, into which missing ones are built.
    pub(super) fn of_clusters() -> anyhow::Result<Self> {
        Self::locate_or_build(&OF_CLUSTERS)
    }

    /// Those, and what only tests need, as above.
    pub(super) fn for_tests() -> anyhow::Result<Self> {
        Self::locate_or_build(&[&OF_CLUSTERS[..], &FOR_TESTS[..]].concat())
    }

    fn locate_or_build(programs: &[Program]) -> anyhow::Result<Self> {
        if let Some(folder) = std::env::var_os("KUBEBUILDER_ASSETS") {
            let given = Self { folder: folder.into() };
            let missing: Vec<_> = given.missing(programs).iter().map(|(name, ..)| *name).collect();
            ensure!(missing.is_empty(), "KUBEBUILDER_ASSETS lacks {missing:?}");
            return Ok(given);
        }
        let cached = Self { folder: paths::cache()?.join(format!("cluster-{KUBERNETES_VERSION}")) };
        let _alone = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = cached.missing(programs);
        for (index, program) in missing.iter().enumerate() {
            cached.build(*program, index + 1, missing.len())?;
        }
        if !missing.is_empty() {
            cached.remove_what_is_left_of_building()?;
        }
        Ok(cached)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn missing(&self, programs: &[Program]) -> Vec<Program> {
        programs.iter().filter(|(name, ..)| !self.path(name).is_file()).copied().collect()
    }

    /// What Go keeps of its work, several gigabytes: for the programs of one run only, which have much in common.
    fn go_cache(&self) -> PathBuf {
        self.folder.join("go-build")
    }

    fn remove_what_is_left_of_building(&self) -> anyhow::Result<()> {
        match std::fs::remove_dir_all(self.go_cache()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn build(&self, program: Program, number: usize, of: usize) -> anyhow::Result<()> {
        let (name, module, package) = program;
        println!("[{number}/{of}] building {name} with Go (the API server takes minutes, the rest less)");
        let start = Instant::now();
        std::fs::create_dir_all(&self.folder)?;
        // Built under another name, so that an interrupted build is not taken for a finished one.
        let unfinished = self.folder.join(format!("{name}.unfinished"));
        build(&paths::repository().join("tests/tools").join(module), package, &unfinished, &self.go_cache())
            .with_context(|| format!("{name} does not build"))?;
        std::fs::rename(&unfinished, self.path(name))?;
        println!("[{number}/{of}] {name} built in {} s", start.elapsed().as_secs());
        Ok(())
    }
}

fn build(module: &Path, package: &str, output: &Path, cache: &Path) -> anyhow::Result<()> {
    let version = "k8s.io/component-base/version";
    let (major, minor) = ("1", "36");
    let linker_flags = format!(
        "-s -w -X {version}.gitVersion={KUBERNETES_VERSION} -X {version}.gitMajor={major} -X {version}.gitMinor={minor}"
    );
    let built = Command::new("go")
        .current_dir(module)
        .args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", &linker_flags])
        .args(["-tags", TAGS, "-o"])
        .arg(output)
        .arg(package)
        .env("CGO_ENABLED", "0")
        .env("GOCACHE", cache)
        .env("GOTOOLCHAIN", "local")
        .status()
        .context("Go 1.26 is needed; the command `go` does not start")?;
    ensure!(built.success(), "go build failed");
    Ok(())
}
