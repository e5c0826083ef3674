//! A server on the node that says yes in OpenAI's protocol, whatever it is asked, and can be told to fail for some pods, or be killed and started anew.

mod dialects;

pub use dialects::{ANTHROPIC_MODEL, VLLM_MODEL};

use crate::support::CLUSTER;
use std::collections::{BTreeSet, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// What it says to chats.
const CHAT: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"coder","choices":[{"index":0,"message":{"role":"assistant","content":"Yes."},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
const CHUNK: &str = r#"{"id":"1","object":"chat.completion.chunk","created":1,"model":"coder","choices":[{"index":0,"delta":{"content":"Yes."}}]}"#;
/// Requests that it remembers.
const MOST_HEARD: usize = 64;
/// Between the pieces of a stream.
const PAUSE: Duration = Duration::from_millis(500);
const COMPLETION: &str = r#"{"id":"1","object":"text_completion","created":1,"model":"coder","choices":[{"index":0,"text":"Yes.","finish_reason":"stop","logprobs":null}]}"#;
const EMBEDDING: &str = r#"{"object":"list","model":"coder","data":[{"object":"embedding","index":0,"embedding":[0.5,0.25]}],"usage":{"prompt_tokens":1,"total_tokens":1}}"#;
const RESPONSE: &str = r#"{"id":"1","object":"response","created_at":1,"model":"coder","status":"completed","parallel_tool_calls":true,"tool_choice":"auto","tools":[],"output":[{"type":"message","id":"m","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Yes.","annotations":[]}]}]}"#;
const DELTA: &str = r#"{"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":"Yes.","logprobs":[],"sequence_number":0}"#;

/// Content type and content of the answer to a request.
fn answer(path: &str, body: &str) -> (&'static str, String) {
    if let Some(answer) = dialects::answer(path, body) {
        return answer;
    }
    let json = |document: &str| ("application/json", document.to_owned());
    match path {
        "/v1/completions" => json(COMPLETION),
        "/v1/embeddings" => json(EMBEDDING),
        "/v1/responses" if body.contains("\"stream\":true") => {
            let last =
                format!(r#"{{"type":"response.completed","response":{RESPONSE},"sequence_number":1}}"#);
            let events = format!(
                "event: response.output_text.delta\ndata: {DELTA}\n\nevent: response.completed\ndata: {last}\n\n"
            );
            ("text/event-stream", events)
        }
        "/v1/responses" => json(RESPONSE),
        _ => json(CHAT),
    }
}

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
    /// What it was asked last.
    heard: Mutex<VecDeque<String>>,
    /// How often it was told to end its streams.
    ends: Mutex<usize>,
    is_told_to_end: Condvar,
}

impl Known {
    fn hear(&self, body: &str) {
        let mut heard = self.heard.lock().unwrap();
        heard.push_back(body.to_owned());
        while heard.len() > MOST_HEARD {
            heard.pop_front();
        }
    }
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

    /// The bodies of the requests that it was sent last.
    pub fn heard(&self) -> Vec<String> {
        self.known.heard.lock().unwrap().iter().cloned().collect()
    }

    /// Ends the streams that it writes at the moment, which would go on for ever, as whole ones.
    pub fn end_streams(&self) {
        *self.known.ends.lock().unwrap() += 1;
        self.known.is_told_to_end.notify_all();
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
        let (mut path, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if requests.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(rest) = line.strip_prefix("POST ") {
                path = rest.split(' ').next().unwrap_or_default().to_owned();
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        requests.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body);
        known.hear(&body);
        let is_served = !known.unserved.lock().unwrap().contains(&who);
        let is_stream = path == "/v1/chat/completions" && body.contains("\"stream\":true");
        if is_served && is_stream && dialects::answer(&path, &body).is_none() {
            return stream_chat(answers, known);
        }
        let (status, (kind, body)) = if is_served {
            ("200 OK", answer(&path, &body))
        } else {
            ("500 Internal Server Error", ("application/json", "{}".to_owned()))
        };
        let head = format!("content-type: {kind}\r\ncontent-length: {}", body.len());
        write!(answers, "HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}")?;
    }
}

/// A chat that says yes again and again, until it is told to end or nobody listens.
fn stream_chat(mut answer: TcpStream, known: &Known) -> std::io::Result<()> {
    answer.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")?;
    let mut ends = known.ends.lock().unwrap();
    let before = *ends;
    while *ends == before {
        drop(ends);
        write!(answer, "data: {CHUNK}\n\n")?;
        ends = known.is_told_to_end.wait_timeout(known.ends.lock().unwrap(), PAUSE).unwrap().0;
    }
    answer.write_all(b"data: [DONE]\n\n")
}
