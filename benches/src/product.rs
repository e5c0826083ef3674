//! The product's gateway in front of a backend, with tokens, validation and metrics as in production.

use crate::{Server, Target};
use codecrucible_contract as contract;
use codecrucible_workload::backend::Engines;
use codecrucible_workload::configuration::{ClientFiles, Configuration, Folders, compile, initialize};
use codecrucible_workload::http::{Listener, Shutdown, public_router};
use codecrucible_workload::identity::KnownClients;
use codecrucible_workload::service::Service;
use codecrucible_workload::snapshot::Snapshot;
use codecrucible_workload::telemetry::Metrics;
use std::net::SocketAddr;
use std::sync::Arc;

/// How much of the product is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Tokens, validation and metrics.
    Bare,
    /// And rules of access, two limits, a line of the log for each request, and a trace of each twentieth.
    Everything,
    /// The same, with rules that let nobody in.
    Forbidden,
    /// The same, with a limit that refuses nearly all.
    Exhausted,
    /// All that is on, and every answer is kept.
    Kept,
}

/// The product on one processor, and how it is reached.
pub fn start_product(
    processor: usize,
    backend: SocketAddr,
    extent: Extent,
) -> anyhow::Result<(Server, Target)> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let server = Server::start(processor, move || async move {
        let (address, token) = product(backend, extent).await?;
        sender.send(token)?;
        Ok(address)
    })?;
    let target = Target { address: server.address, token: receiver.recv()? };
    Ok((server, target))
}

/// Serves the product and gives its address and a token.
async fn product(backend: SocketAddr, extent: Extent) -> anyhow::Result<(SocketAddr, String)> {
    let folder = std::env::temp_dir().join(format!("codecrucible-bench-{}-{extent:?}", std::process::id()));
    let folders = Folders::new(&folder);
    initialize(&folders)?;
    compile(&folders, serde_json::to_vec(&policy_of(backend, extent))?.as_slice())?;
    let snapshot = Snapshot::build(Configuration::read(&folders)?, None, &Engines::default())?;
    let clients = KnownClients::from(&ClientFiles::read(&folders)?);
    std::fs::remove_dir_all(&folder)?;
    let service = Service::new(snapshot, clients, Arc::new(Metrics::new()?));
    let token = service.issue_token("local", std::time::SystemTime::now())?.token;
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await?;
    let address = listener.local_address()?;
    tokio::spawn(listener.serve(public_router(service), None, Shutdown::never()));
    Ok((address, token))
}

/// A policy with one backend, of which so much is on.
pub fn policy_of(backend: SocketAddr, extent: Extent) -> contract::Policy {
    let policy = policy(backend);
    let (requests, window_ms) = match extent {
        Extent::Bare => {
            let access_log = contract::AccessLog { sample_percent: 0, slower_than_ms: None };
            let observability = contract::Observability { access_log, ..policy.observability };
            return contract::Policy { observability, ..policy };
        }
        // However long and fast it is asked, nothing is used up.
        Extent::Everything | Extent::Forbidden | Extent::Kept => (contract::MAX_LIMIT, 60_000),
        Extent::Exhausted => (1, contract::MAX_WINDOW_MS),
    };
    let rules = vec![
        limit("requests", contract::Unit::Requests, requests, window_ms),
        limit("tokens", contract::Unit::Tokens, contract::MAX_LIMIT, window_ms),
    ];
    let limits = contract::Limits { rules, ..contract::Limits::default() };
    let cache = (extent == Extent::Kept).then(cache);
    let traces = contract::Traces { endpoint: format!("http://{backend}"), sample_percent: 5 };
    let observability = contract::Observability { traces: Some(traces), ..policy.observability };
    let namespace = if extent == Extent::Forbidden { "other" } else { "bench" };
    contract::Policy { access: Some(access(namespace)), limits, cache, observability, ..policy }
}

fn cache() -> contract::Cache {
    let rule = contract::CacheRule {
        name: "all".into(),
        routes: Vec::new(),
        models: Vec::new(),
        namespaces: Vec::new(),
        requests: contract::CachedRequests::All,
        shared_by: contract::SharedBy::Client,
        ttl_ms: 3_600_000,
        epoch: 0,
    };
    contract::Cache {
        memory_bytes: 64 << 20,
        shared: None,
        rules: vec![rule],
        warm_up: Vec::new(),
        namespace: "bench".into(),
    }
}

fn limit(name: &str, unit: contract::Unit, count: u64, window_ms: u64) -> contract::Limit {
    contract::Limit {
        name: name.into(),
        routes: Vec::new(),
        models: Vec::new(),
        namespaces: Vec::new(),
        except_namespaces: Vec::new(),
        per: contract::Subject::Client,
        unit,
        algorithm: contract::Algorithm::TokenBucket,
        limit: count,
        window_ms,
        burst: count,
        is_shadow: false,
        without_store: contract::WithoutStore::Local,
    }
}

/// Who is of a namespace may use the model; the service's own is `bench`.
fn access(namespace: &str) -> contract::Access {
    let cedar = format!(r#"permit (principal in Namespace::"{namespace}", action, resource);"#);
    let rule = contract::AccessRule { id: "statements[0]".into(), cedar };
    let enforcement = contract::Enforcement::Enforce;
    let document = contract::AccessDocument { name: "team".into(), enforcement, rules: vec![rule] };
    contract::Access { namespace: "bench".into(), documents: vec![document] }
}

/// A policy with one backend.
pub fn policy(backend: SocketAddr) -> contract::Policy {
    contract::Policy {
        identity: contract::Identity {
            issuer: "http://bench".into(),
            audience: "bench".into(),
            access_token_seconds: 86_400,
        },
        observability: contract::Observability {
            log_level: contract::LogLevel::Info,
            access_log: contract::AccessLog::default(),
            traces: None,
        },
        backends: vec![contract::Backend {
            name: "bench".into(),
            kind: contract::BackendKind::Remote(contract::Remote {
                url: format!("http://{backend}/v1"),
                has_credential: false,
                protocol: contract::Protocol::OpenAi,
            }),
            models: vec![contract::Model { name: "m".into(), alias: None, ..contract::Model::default() }],
            timeouts: contract::Timeouts {
                connect_ms: 5_000,
                first_byte_ms: 60_000,
                idle_ms: 60_000,
                total_ms: 600_000,
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
            default_voices: vec!["developer".into()],
            default_mode: contract::Mode::Competitive,
            max_tokens_per_voice: 64,
        },
        access: None,
    }
}
