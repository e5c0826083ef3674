//! A way to the API server that can be disturbed, inside the cluster's network: what happens to a request, a test decides.

use crate::cluster::Cluster;
use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{Method, StatusCode, Uri, Version};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use nix::sched::{CloneFlags, setns};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::collections::HashMap;
use std::fs::File;
use std::future::pending;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

/// Longest answer that is remembered, bytes.
const MAX_ANSWER_BYTES: usize = 10_000_000;

/// A request that asks to be passed on.
pub struct Asked {
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub path: String,
}

impl Asked {
    /// Whether it changes something. Leases do not count.
    pub fn is_write(&self) -> bool {
        self.method != Method::GET && !self.path.contains("/leases")
    }

    /// Whether its answer goes on until somebody ends it.
    pub fn is_watch(&self) -> bool {
        self.path.contains("watch=true")
    }
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is passed on.
    Pass,
    /// It is passed on after a while.
    Late(Duration),
    /// It is not passed on, and this status is the answer.
    Refused(u16),
    /// It is not passed on, and nobody answers.
    Silence,
    /// It is passed on, and nobody hears the answer.
    Swallowed,
    /// It is passed on, and the answer ends after a while, whole or not.
    Cut(Duration),
    /// It gets the answer that the first one with its path got, however long ago that was.
    Stale,
}

/// Decides about each request.
pub type Script = Box<dyn FnMut(&Asked) -> Fate + Send>;

type ApiServer = Client<HttpsConnector<HttpConnector>, Body>;

/// A proxy that runs for as long as the value lives.
pub struct Proxy {
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<anyhow::Result<()>>>,
}

struct Way {
    script: Mutex<Script>,
    client: ApiServer,
    server: String,
    /// First answers by path, without the query.
    first: Mutex<HashMap<String, (StatusCode, Bytes)>>,
}

impl Proxy {
    /// Starts one before a cluster of our own.
    pub fn start(cluster: &Cluster, script: Script) -> anyhow::Result<Self> {
        let server = cluster.server_inside().context("the cluster is not ours")?;
        let namespace = cluster.network_namespace_file();
        let client = client(&cluster.authority_file())?;
        let shown = TlsAcceptor::from(Arc::new(as_the_api_server(cluster)?));
        let way = Arc::new(Way { script: Mutex::new(script), client, server, first: Mutex::default() });
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        // To enter a namespace concerns only the thread that does it, and all that it opens afterwards.
        let thread = thread::spawn(move || {
            setns(File::open(namespace)?, CloneFlags::CLONE_NEWNET)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                tell.send(socket.local_addr()?.port())?;
                tokio::select! {
                    ended = serve(socket, shown, Router::new().fallback(pass).with_state(way)) => ended,
                    _ = stopped => Ok(()),
                }
            })
        });
        let port = told.recv().context("the proxy does not start")?;
        Ok(Self { port, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it is reached inside the cluster's network.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.take();
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// It shows what the API server shows, and speaks what that speaks.
fn as_the_api_server(cluster: &Cluster) -> anyhow::Result<ServerConfig> {
    let (certificate, key) = cluster.server_certificate_files();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(certificate)?],
            PrivateKeyDer::from_pem_file(key)?,
        )?;
    config.alpn_protocols = ["h2", "http/1.1"].map(|name| name.as_bytes().to_vec()).into();
    Ok(config)
}

async fn serve(socket: TcpListener, shown: TlsAcceptor, router: Router) -> anyhow::Result<()> {
    loop {
        let (stream, _) = socket.accept().await?;
        let (shown, service) = (shown.clone(), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            // Whoever leaves in the middle is not missed.
            if let Ok(stream) = shown.accept(stream).await {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            }
        });
    }
}

fn client(authority: &Path) -> anyhow::Result<ApiServer> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

async fn pass(State(way): State<Arc<Way>>, request: Request) -> Response {
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let asked = Asked { method: request.method().clone(), path };
    let fate = (way.script.lock().unwrap_or_else(PoisonError::into_inner))(&asked);
    match fate {
        Fate::Pass => way.forward(request, &asked.path).await,
        Fate::Late(pause) => {
            sleep(pause).await;
            way.forward(request, &asked.path).await
        }
        Fate::Refused(code) => refusal(code),
        Fate::Silence => pending().await,
        Fate::Swallowed => {
            way.forward(request, &asked.path).await;
            pending().await
        }
        Fate::Cut(after) => {
            let (parts, body) = way.forward(request, &asked.path).await.into_parts();
            let until = Box::pin(sleep(after));
            Response::from_parts(parts, Body::from_stream(body.into_data_stream().take_until(until)))
        }
        Fate::Stale => way.first_answer(request, &asked.path).await,
    }
}

impl Way {
    async fn forward(&self, mut request: Request, path: &str) -> Response {
        let Ok(uri) = format!("{}{path}", self.server).parse::<Uri>() else { return refusal(400) };
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        request.headers_mut().remove(HOST);
        match self.client.request(request).await {
            Ok(answer) => answer.map(Body::new),
            Err(_) => refusal(502),
        }
    }
}

impl Way {
    async fn first_answer(&self, request: Request, path: &str) -> Response {
        let key = path.split('?').next().unwrap_or_default().to_owned();
        let known = self.first.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let (code, body) = match known {
            Some(known) => known,
            None => {
                let answer = self.forward(request, path).await;
                let code = answer.status();
                let Ok(body) = axum::body::to_bytes(answer.into_body(), MAX_ANSWER_BYTES).await else {
                    return refusal(502);
                };
                self.first.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (code, body.clone()));
                (code, body)
            }
        };
        (code, [(CONTENT_TYPE, "application/json")], body).into_response()
    }
}

/// As the API server would say it.
fn refusal(code: u16) -> Response {
    let reason = match code {
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    let status = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
        "message": "a fault of the tests", "code": code});
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (code, [(CONTENT_TYPE, "application/json")], status.to_string()).into_response()
}
