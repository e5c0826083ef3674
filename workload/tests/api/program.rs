//! The real program, and what it says.

use crate::support::{Folder, chat};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The program on a directory; ended with the value.
pub struct Program {
    pub child: Child,
    lines: mpsc::Receiver<serde_json::Value>,
}

impl Program {
    pub fn start(folder: &Folder) -> Self {
        Self::start_with(folder, &[])
    }

    pub fn start_with(folder: &Folder, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_workload"))
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--config"])
            .arg(&folder.0)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap_or_default());
            }
        });
        Self { child, lines }
    }

    /// Waits for a log line and gives it.
    pub fn says(&self, message: &str) -> serde_json::Value {
        loop {
            let line = self
                .lines
                .recv_timeout(Duration::from_secs(20))
                .unwrap_or_else(|error| panic!("never said {message:?}: {error}"));
            if line["message"] == message {
                return line;
            }
        }
    }

    /// A client with a token, once the program listens.
    pub async fn client(&self, folder: &Folder) -> Client {
        let base = format!("http://{}", self.says("listening")["public"].as_str().unwrap());
        let (http, secret) = (reqwest::Client::new(), folder.client_secret());
        let form = format!("grant_type=client_credentials&client_id=local&client_secret={secret}");
        let request = http.post(format!("{base}/oauth/token")).body(form);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
        Client { http, base, token: answer["access_token"].as_str().unwrap().to_owned() }
    }

    /// Tells it to end.
    pub fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    pub fn get(&self, address: &str, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }
}

/// Who asks the program.
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Client {
    /// A chat, not sent yet.
    pub fn chat(&self, stream: bool) -> reqwest::RequestBuilder {
        let request = self.http.post(format!("{}/v1/chat/completions", self.base)).bearer_auth(&self.token);
        request.header("content-type", "application/json").body(chat("coder", stream).to_string())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
