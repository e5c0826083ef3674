//! A real Redis on the node, which keeps nothing and asks for a password; it can be paused, killed and started anew at the same address.

use crate::support::{CLUSTER, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::SocketAddr;
use std::process::{Child, Stdio};

pub const PASSWORD: &str = "open-sesame";

/// The server, for as long as the test runs.
pub struct RedisServer {
    pub address: SocketAddr,
    process: Option<Child>,
}

impl RedisServer {
    pub fn start() -> Self {
        let address = CLUSTER.listen_on_the_node().unwrap().local_addr().unwrap();
        let mut server = Self { address, process: None };
        server.start_anew();
        server
    }

    pub fn start_anew(&mut self) {
        let (host, port) = (self.address.ip().to_string(), self.address.port().to_string());
        let process = CLUSTER
            .inside("redis-server")
            .args(["--bind", &host, "--port", &port, "--requirepass", PASSWORD])
            .args(["--save", "", "--appendonly", "no", "--dir", "/tmp"])
            .stdout(Stdio::null())
            .spawn();
        self.process = Some(process.unwrap());
        eventually("Redis answers", || self.answers());
    }

    fn answers(&self) -> bool {
        let (host, port) = (self.address.ip().to_string(), self.address.port().to_string());
        let mut ping = CLUSTER.inside("redis-cli");
        ping.args(["-h", &host, "-p", &port, "--no-auth-warning", "PING"]).env("REDISCLI_AUTH", PASSWORD);
        ping.output().is_ok_and(|output| output.stdout.starts_with(b"PONG"))
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// It keeps its connections and says nothing.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.process.as_ref().expect("it runs").id();
        kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
