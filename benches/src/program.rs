//! The program that is in the image, on a policy of its own, in a process of its own.

use anyhow::{Context as _, ensure};
use codecrucible_contract::Policy;
use codecrucible_tests::{product, wait};
use codecrucible_workload::configuration::{Folders, compile, initialize};
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Longest wait for the service, seconds.
const LIMIT_SECONDS: u64 = 30;

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// A running service. It ends with the value.
pub struct Program {
    /// Where clients reach it.
    pub public: String,
    admin: String,
    folder: PathBuf,
    process: Child,
}

impl Program {
    /// Builds the program and starts it.
    pub fn start(policy: &Policy) -> anyhow::Result<Self> {
        Self::start_with(policy, &[])
    }

    /// The same, with more arguments.
    pub fn start_with(policy: &Policy, arguments: &[&OsStr]) -> anyhow::Result<Self> {
        product::build()?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("codecrucible-program-{}-{number}", std::process::id()));
        let folders = Folders::new(&folder);
        initialize(&folders)?;
        compile(&folders, serde_json::to_vec(policy)?.as_slice())?;
        let mut process = Command::new(product::WORKLOAD.path())
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--config"])
            .arg(&folder)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().context("no output")?;
        // From here on it ends with the value, whatever happens.
        let mut program = Self { public: String::new(), admin: String::new(), folder, process };
        program.hear_where_it_listens(BufReader::new(output))?;
        wait::until("a ready service", Duration::from_secs(LIMIT_SECONDS), || {
            Ok(reqwest::blocking::get(format!("{}/readyz", program.admin))?.status().is_success())
        })?;
        Ok(program)
    }

    fn hear_where_it_listens(&mut self, mut output: BufReader<ChildStdout>) -> anyhow::Result<()> {
        loop {
            let mut line = String::new();
            ensure!(output.read_line(&mut line)? > 0, "the service ended");
            let line: serde_json::Value = serde_json::from_str(&line)?;
            if let (Some(public), Some(admin)) = (line["public"].as_str(), line["admin"].as_str()) {
                (self.public, self.admin) = (format!("http://{public}"), format!("http://{admin}"));
                break;
            }
        }
        // Nobody reads the rest, which must not hold it up.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Ok(())
    }

    /// What it tells of itself.
    pub fn metrics(&self) -> anyhow::Result<String> {
        Ok(reqwest::blocking::get(format!("{}/metrics", self.admin))?.text()?)
    }

    /// A token of its own client.
    pub fn token(&self) -> anyhow::Result<String> {
        let secret = std::fs::read_to_string(self.folder.join("client/client-secret"))?;
        let form = format!("grant_type=client_credentials&client_id=local&client_secret={}", secret.trim());
        let request = reqwest::blocking::Client::new().post(format!("{}/oauth/token", self.public));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        let token: serde_json::Value = serde_json::from_str(&request.send()?.error_for_status()?.text()?)?;
        Ok(token["access_token"].as_str().context("no token")?.to_owned())
    }
}

/// A value of a metric without labels.
pub fn metric(metrics: &str, name: &str) -> anyhow::Result<f64> {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.with_context(|| format!("the metrics have no {name}"))
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
