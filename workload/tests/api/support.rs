//! A service on a port of its own, and backends that behave as a test needs.

use codecrucible_contract as contract;
use codecrucible_workload::backend::Engines;
use codecrucible_workload::configuration::{ClientFiles, Configuration, Folders, initialize};
use codecrucible_workload::http::{Listener, Shutdown, public_router};
use codecrucible_workload::identity::KnownClients;
use codecrucible_workload::service::Service;
use codecrucible_workload::snapshot::Snapshot;
use codecrucible_workload::telemetry::Metrics;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// A configuration directory that goes with the value.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("codecrucible-api-{}-{number}", std::process::id()));
        std::fs::create_dir_all(path.join("policy")).unwrap();
        initialize(&Folders::new(&path)).unwrap();
        Self(path)
    }

    pub fn write_bundle(&self, bundle: &str) {
        self.write("policy", "bundle.json", bundle);
    }

    pub fn write_shadow(&self, bundle: &str) {
        self.write("policy", "shadow.json", bundle);
    }

    /// In place of the plain one.
    pub fn write_compressed_bundle(&self, bundle: &[u8]) {
        let _ = std::fs::remove_file(self.0.join("policy/bundle.json"));
        self.write("policy", "bundle.json.gz", bundle);
    }

    pub fn write_clients(&self, clients: &str) {
        self.write("clients", "clients.json", clients);
    }

    pub fn write_credential(&self, backend: &str, credential: &str) {
        self.write("backend-credentials", backend, credential);
    }

    /// As the kubelet does: a reader never sees half a file.
    fn write(&self, folder: &str, file: &str, text: impl AsRef<[u8]>) {
        let folder = self.0.join(folder);
        let unfinished = folder.join(".unfinished");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&unfinished, text).unwrap();
        std::fs::rename(unfinished, folder.join(file)).unwrap();
    }

    pub fn client_secret(&self) -> String {
        std::fs::read_to_string(self.0.join("client/client-secret")).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A policy with one remote backend that serves `m` under the alias `coder`.
pub fn policy(backend_url: &str) -> contract::Policy {
    contract::Policy {
        identity: contract::Identity {
            issuer: "http://us".into(),
            audience: "us".into(),
            access_token_seconds: 900,
        },
        observability: contract::Observability {
            log_level: contract::LogLevel::Info,
            access_log: contract::AccessLog::default(),
            traces: None,
        },
        backends: vec![contract::Backend {
            name: "remote".into(),
            kind: contract::BackendKind::Remote(contract::Remote {
                url: backend_url.into(),
                has_credential: false,
                protocol: contract::Protocol::OpenAi,
            }),
            models: vec![contract::Model {
                name: "m".into(),
                alias: Some("coder".into()),
                ..contract::Model::default()
            }],
            timeouts: contract::Timeouts {
                connect_ms: 2_000,
                first_byte_ms: 400,
                idle_ms: 400,
                total_ms: 10_000,
            },
            priority: 0,
            weight: 1,
            circuit_breaker: contract::CircuitBreaker::default(),
            concurrency: None,
        }],
        routing: contract::Routing::default(),
        limits: contract::Limits::default(),
        store: None,
        cache: None,
        redaction: None,
        trusted_proxy_hops: 0,
        stream_heartbeat_ms: None,
        allowed_origins: Vec::new(),
        synthesis: contract::Synthesis {
            voices: contract::voices::built_in(),
            default_voices: vec!["developer".into(), "security".into()],
            default_mode: contract::Mode::Competitive,
            max_tokens_per_voice: 64,
        },
        access: None,
    }
}

/// A policy whose model these serve, the first one before the second, and so on.
pub fn one_after_the_other(urls: &[&str]) -> contract::Policy {
    let mut policy = policy(urls[0]);
    let first = policy.backends.remove(0);
    for (index, url) in urls.iter().enumerate() {
        policy.backends.push(contract::Backend {
            name: format!("b{index}"),
            kind: contract::BackendKind::Remote(contract::Remote {
                url: (*url).into(),
                has_credential: false,
                protocol: contract::Protocol::OpenAi,
            }),
            priority: u16::try_from(index).unwrap(),
            ..first.clone()
        });
    }
    policy
}

pub fn bundle(policy: contract::Policy) -> String {
    contract::Bundle::compile(policy, None).unwrap().to_json()
}

/// A service and a client of it.
pub struct Api {
    pub base: String,
    pub token: String,
    pub http: reqwest::Client,
    pub folder: Folder,
    pub service: Service,
    stop: CancellationToken,
}

impl Api {
    /// A service in front of a backend.
    pub async fn in_front_of(backend_url: &str) -> Self {
        Self::under(policy(backend_url)).await
    }

    /// A service under a policy.
    pub async fn under(policy: contract::Policy) -> Self {
        let folder = Folder::new();
        folder.write_bundle(&bundle(policy));
        Self::of(folder).await
    }

    /// A service on a folder.
    pub async fn of(folder: Folder) -> Self {
        let configuration = Configuration::read(&Folders::new(&folder.0)).unwrap();
        let snapshot = Snapshot::build(configuration, None, &Engines::default()).unwrap();
        let clients = KnownClients::from(&ClientFiles::read(&Folders::new(&folder.0)).unwrap());
        let service = Service::new(snapshot, clients, Arc::new(Metrics::new().unwrap()));
        let token = service.issue_token("local", std::time::SystemTime::now()).unwrap().token;
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let base = format!("http://{}", listener.local_address().unwrap());
        let stop = CancellationToken::new();
        let shutdown =
            Shutdown { stop: stop.clone(), grace: Duration::ZERO, farewell: service.farewell().clone() };
        tokio::spawn(listener.serve(public_router(service.clone()), None, shutdown));
        Self { base, token, http: reqwest::Client::new(), folder, service, stop }
    }

    /// From now on another policy holds.
    pub fn apply(&self, policy: contract::Policy) {
        self.folder.write_bundle(&bundle(policy));
        let configuration = Configuration::read(&Folders::new(&self.folder.0)).unwrap();
        let current = self.service.snapshot();
        let snapshot = Snapshot::build(configuration, Some(&current), &Engines::default()).unwrap();
        self.service.replace_snapshot(snapshot);
    }

    /// The end of the service, whose answers get no time to end by themselves.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Sends a body with the token.
    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> reqwest::Response {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.token);
        request.header("content-type", "application/json").body(body).send().await.unwrap()
    }

    /// What Prometheus would read.
    pub fn metrics(&self) -> String {
        String::from_utf8(self.service.metrics().render(|_| ())).unwrap()
    }

    /// Asks for a chat.
    pub async fn chat(&self, stream: bool) -> reqwest::Response {
        self.post("/v1/chat/completions", chat("coder", stream).to_string()).await
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub fn chat(model: &str, stream: bool) -> Value {
    json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]})
}

/// Status, `error.code` and the whole body of a refusal.
pub async fn refusal(response: reqwest::Response) -> (u16, String, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}"));
    assert!(document["error"]["message"].is_string(), "{document}");
    (status, document["error"]["code"].as_str().unwrap_or_default().to_owned(), document)
}

/// Status, and what the client is told of the way.
pub fn way(response: &reqwest::Response) -> (u16, String) {
    let route = response.headers().get("x-codecrucible-route").map(|route| route.to_str().unwrap());
    (response.status().as_u16(), route.unwrap_or_default().to_owned())
}

/// A backend that does the same with every connection, after it has read a request.
pub struct Backend {
    pub url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Backend {
    /// Answers with bytes and closes.
    pub async fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::doing(move |mut stream, _| {
            let answer = answer.clone();
            async move {
                stream.write_all(&answer).await.unwrap();
            }
        })
        .await
    }

    /// Answers always the same, and remembers what it was asked.
    pub async fn heard(answer: String) -> (Self, Arc<Mutex<Vec<String>>>) {
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let hearing = Arc::clone(&heard);
        let backend = Self::doing(move |mut stream, request| {
            hearing.lock().unwrap().push(request);
            let answer = answer.clone();
            async move {
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (backend.await, heard)
    }

    /// Does anything with a connection and the request that came over it.
    pub async fn doing<F, Done>(behave: F) -> Self
    where
        F: Fn(TcpStream, String) -> Done + Send + Sync + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let behave = Arc::new(behave);
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let behave = behave.clone();
                tokio::spawn(async move {
                    let request = read_request(&mut stream).await;
                    behave(stream, request).await;
                });
            }
        });
        Self { url, task }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await.unwrap_or(0) {
            0 => return text,
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// A whole answer with a length.
pub fn whole(status: &str, content_type: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// The head of a stream that ends when the connection does.
pub const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

/// How long anything may take, seconds: a test machine may have much to do.
const PATIENCE_SECONDS: u64 = 30;

/// Waits until something holds.
pub async fn eventually(mut holds: impl FnMut() -> bool) {
    let until = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(PATIENCE_SECONDS), until).await.expect("it holds in time");
}
