//! A real Redis on loopback, for tests: it can be paused, killed and started again at the same port, and goes with the test.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long it may take to start, seconds.
const START_SECONDS: u64 = 20;

pub(crate) struct RedisServer {
    port: u16,
    arguments: Vec<String>,
    folder: PathBuf,
    process: Option<Child>,
}

impl RedisServer {
    /// One that keeps nothing, with more arguments, such as `--requirepass x`.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        // The port is free now, and the system gives it to nobody else soon.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let folder = std::env::temp_dir().join(format!("codecrucible-redis-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut server = Self { port, arguments, folder, process: None };
        server.start_anew();
        server
    }

    /// Three that are a cluster.
    pub(crate) fn cluster() -> [Self; 3] {
        let nodes = [(); 3]
            .map(|()| Self::start(&["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]));
        let addresses = nodes.each_ref().map(|node| format!("127.0.0.1:{}", node.port));
        let create = ["--cluster", "create", "--cluster-yes"];
        let made = Command::new("redis-cli").args(create).args(addresses).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        nodes
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn start_anew(&mut self) {
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(&self.folder)
            .args(["--port", &self.port.to_string()])
            .args(&self.arguments)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server, of Debian's package of that name, starts");
        self.process = Some(process);
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not listen");
            thread::yield_now();
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// It keeps its connections and answers nothing.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let process = self.process.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
