//! A server that speaks as Ollama does: Ollama itself with the small model, where `OLLAMA` is the path of its program, and otherwise the model server that
//! says yes.

use crate::model_server::ModelServer;
use crate::support::{CLUSTER, eventually};
use codecrucible_tests::model;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The name of its model.
pub const MODEL: &str = "ollama-coder";

/// The server, for as long as the test runs.
pub enum OllamaServer {
    Real { url: String, process: Child, folder: PathBuf },
    LookAlike(ModelServer),
}

impl OllamaServer {
    pub fn start() -> Self {
        match std::env::var_os("OLLAMA") {
            Some(program) => real(Path::new(&program)),
            None => Self::LookAlike(ModelServer::start()),
        }
    }

    /// Without the version.
    pub fn url(&self) -> String {
        match self {
            Self::Real { url, .. } => url.clone(),
            Self::LookAlike(server) => format!("http://{}", server.address),
        }
    }

    /// Whether its model calls tools.
    pub fn calls_tools(&self) -> bool {
        matches!(self, Self::LookAlike(_))
    }
}

impl Drop for OllamaServer {
    fn drop(&mut self) {
        if let Self::Real { process, folder, .. } = self {
            // Asked to, it ends what it has started too.
            let _ = kill(Pid::from_raw(process.id().cast_signed()), Signal::SIGTERM);
            let _ = process.wait();
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

fn real(program: &Path) -> OllamaServer {
    let address = CLUSTER.listen_on_the_node().unwrap().local_addr().unwrap();
    let folder = std::env::temp_dir().join(format!("codecrucible-ollama-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = model::folder().unwrap().join(model::SMOLLM.file);
    let modelfile = folder.join("Modelfile");
    std::fs::write(&modelfile, format!("FROM {}\n", file.display())).unwrap();
    let ollama = || {
        let mut command: Command = CLUSTER.inside(program);
        command.env("OLLAMA_HOST", address.to_string()).env("OLLAMA_MODELS", folder.join("models"));
        command.env("HOME", &folder).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let process = ollama().arg("serve").spawn().unwrap();
    eventually("Ollama answers", || ollama().arg("list").status().unwrap().success());
    assert!(ollama().args(["create", MODEL, "-f"]).arg(modelfile).status().unwrap().success());
    OllamaServer::Real { url: format!("http://{address}"), process, folder }
}
