//! A server on the node that answers chats in OpenAI's protocol, and can be told to fail for some pods, or be killed and started anew.

use crate::support::CLUSTER;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What it says to those whom it serves.
const ANSWER: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"coder","choices":[{"index":0,"message":{"role":"assistant","content":"Yes."},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;

/// The server, for as long as the test runs.
pub struct ModelServer {
    pub address: SocketAddr,
    known: Arc<Known>,
}

#[derive(Default)]
struct Known {
    unserved: Mutex<BTreeSet<IpAddr>>,
    is_dead: AtomicBool,
    /// What it listens on and who is connected.
    open: Mutex<Vec<TcpStream>>,
}

impl ModelServer {
    pub fn start() -> Self {
        let listener = CLUSTER.listen_on_the_node().unwrap();
        let (address, known) = (listener.local_addr().unwrap(), Arc::<Known>::default());
        serve(listener, &known);
        Self { address, known }
    }

    /// From now on it fails for a pod.
    pub fn fail_for(&self, pod: IpAddr) {
        self.known.unserved.lock().unwrap().insert(pod);
    }

    /// As when its process is killed: every connection breaks, and new ones are refused.
    pub fn kill(&self) {
        let mut open = self.known.open.lock().unwrap();
        self.known.is_dead.store(true, Ordering::SeqCst);
        for open in open.drain(..) {
            let _ = open.shutdown(Shutdown::Both);
        }
    }

    /// At the same address.
    pub fn start_anew(&self) {
        self.known.is_dead.store(false, Ordering::SeqCst);
        serve(CLUSTER.listen_on_the_node_at(self.address.port()).unwrap(), &self.known);
    }
}

fn serve(listener: TcpListener, known: &Arc<Known>) {
    let known = Arc::clone(known);
    // For the system it is a socket like any other; to shut it down ends the wait for a connection.
    known.open.lock().unwrap().push(TcpStream::from(OwnedFd::from(listener.try_clone().unwrap())));
    thread::spawn(move || {
        while let Ok((stream, who)) = listener.accept() {
            {
                let mut open = known.open.lock().unwrap();
                if known.is_dead.load(Ordering::SeqCst) {
                    break;
                }
                open.push(stream.try_clone().unwrap());
            }
            let known = Arc::clone(&known);
            // Whoever leaves early is not missed.
            thread::spawn(move || answer_all(&stream, who.ip(), &known));
        }
    });
}

/// One request after the other, until the other side is done.
fn answer_all(stream: &TcpStream, who: IpAddr, known: &Known) -> std::io::Result<()> {
    let (mut requests, mut answers) = (BufReader::new(stream.try_clone()?), stream.try_clone()?);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if requests.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line.is_empty() {
                break;
            }
        }
        requests.read_exact(&mut vec![0; length])?;
        let is_served = !known.unserved.lock().unwrap().contains(&who);
        let (status, body) = if is_served { ("200 OK", ANSWER) } else { ("500 Internal Server Error", "{}") };
        let head = format!("content-type: application/json\r\ncontent-length: {}", body.len());
        write!(answers, "HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}")?;
    }
}
