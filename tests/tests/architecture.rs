//! What the crates and folders may know of each other: the invariants of `docs/architecture.md` that a look at
//! the source can tell.
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use codecrucible_tests::paths::{repository, sources};
use std::path::PathBuf;
use std::process::Command;

/// Everything that a crate is built from, itself aside.
fn dependencies(package: &str) -> Vec<String> {
    let tree = Command::new(env!("CARGO"))
        .current_dir(repository())
        .args(["tree", "--locked", "--offline", "-e", "normal", "--prefix", "none", "-p", package])
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let lines = String::from_utf8(tree.stdout).unwrap();
    lines.lines().skip(1).filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn the_lower_crates_know_no_runtime_no_http_and_no_client() {
    for package in ["codecrucible-crds", "codecrucible-contract"] {
        let dependencies = dependencies(package);
        assert!(dependencies.len() > 5, "{package}: {dependencies:?}");
        for unwanted in ["tokio", "hyper", "axum", "reqwest", "kube-client", "kube-runtime"] {
            assert!(!dependencies.iter().any(|name| name == unwanted), "{package} is built from {unwanted}");
        }
    }
}

#[test]
fn one_tls_stack_serves_all() {
    for package in ["codecrucible-operator", "codecrucible-workload", "codecrucible-tests"] {
        for unwanted in ["ring", "openssl-sys", "native-tls"] {
            assert!(!dependencies(package).iter().any(|name| name == unwanted), "{package}: {unwanted}");
        }
    }
}

#[test]
fn only_the_http_folder_knows_axum() {
    let workload = repository().join("workload/src");
    let files = sources(&workload).unwrap();
    let knows = |path: &PathBuf| std::fs::read_to_string(path).unwrap().contains("axum::");
    let (inside, outside): (Vec<_>, Vec<_>) =
        files.into_iter().filter(knows).partition(|path| path.starts_with(workload.join("http")));
    assert!(!inside.is_empty());
    assert_eq!(outside, Vec::<PathBuf>::new());
}

/// The parts of a reconcile that talk to others, or make what is random. All others are pure.
const IMPURE_PARTS: [&str; 12] = [
    "mod.rs",
    "observe/mod.rs",
    "observe/children.rs",
    "observe/named.rs",
    "observe/past.rs",
    "observe/pods.rs",
    "acknowledgements.rs",
    "tls/certificates.rs",
    "facts.rs",
    "apply.rs",
    "preview.rs",
    "report/mod.rs",
];

/// The same of a client's reconcile.
const IMPURE_PARTS_OF_CLIENT: [&str; 3] = ["mod.rs", "observe.rs", "apply.rs"];

#[test]
fn all_parts_of_a_reconcile_but_a_few_are_pure() {
    let service = repository().join("operator/src/service");
    let impure = IMPURE_PARTS.map(|part| service.join(part));
    assert!(impure.iter().all(|path| path.exists()), "{impure:?}");
    let operator = repository().join("operator/src");
    let shared = sources(&operator.join("conventions")).unwrap();
    let pure = sources(&service).unwrap().into_iter().filter(|path| !impure.contains(path)).chain(shared);
    let client = operator.join("client");
    let talks = IMPURE_PARTS_OF_CLIENT.map(|part| client.join(part));
    let decides = sources(&client).unwrap().into_iter().filter(|path| !talks.contains(path));
    for file in pure.chain(decides).chain([operator.join("agreement.rs")]) {
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for impure in [
            "async fn",
            "&Client,",
            "&Client)",
            "context.client",
            "Api<",
            "Timestamp::now",
            "SystemTime::now",
            "rand::",
        ] {
            let word =
                code.lines().find(|line| !line.trim_start().starts_with("//") && line.contains(impure));
            assert_eq!(word, None, "{}", file.display());
        }
    }
}

#[test]
fn the_map_of_the_code_names_what_exists() {
    let map = std::fs::read_to_string(repository().join("docs/architecture.md")).unwrap();
    let rows = map.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let named: Vec<PathBuf> = rows.flat_map(paths_of).collect();
    assert!(named.len() > 20, "{named:?}");
    let missing: Vec<_> = named.iter().filter(|path| !repository().join(path).exists()).collect();
    assert!(missing.is_empty(), "docs/architecture.md names {missing:?}");
}

/// The paths of a row: those after the first are beside it.
fn paths_of(row: &str) -> Vec<PathBuf> {
    let mut paths = row.split('`').step_by(2).map(PathBuf::from);
    let first = paths.next().unwrap();
    let folder = first.parent().unwrap().to_owned();
    let beside = paths.filter(|path| !path.as_os_str().is_empty()).map(|path| folder.join(path));
    std::iter::once(first.clone()).chain(beside).collect()
}
