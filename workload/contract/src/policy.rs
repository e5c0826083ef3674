//! The policy: everything that a replica can change without a restart.
//!
//! Secrets never travel here; a backend only says that it has a credential, which lies in a file of the
//! backend's name. Unknown fields are refused: a replica that ignored one would claim to honour it.

use crate::access::Access;
use crate::cache::Cache;
use crate::concurrency::Concurrency;
use crate::limits::Limits;
use crate::redaction::Redaction;
use crate::routing::{Routing, Task, Tier};
use crate::store::Store;
use serde::{Deserialize, Serialize};

/// The whole policy of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Who issues tokens, and for whom.
    pub identity: Identity,
    /// What the replica logs.
    pub observability: Observability,
    /// Where models answer, in order of preference.
    pub backends: Vec<Backend>,
    /// What becomes of requests whose backend fails.
    #[serde(default, skip_serializing_if = "is_default")]
    pub routing: Routing,
    /// How much clients may ask for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// Where replicas count together; each by itself if nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,
    /// Which answers are given again; none if there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// What becomes of secrets in requests; nothing is looked for if there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redaction: Option<Redaction>,
    /// How many proxies there are between clients and the service, of which each adds to `X-Forwarded-For` who asked it. With none, the other
    /// end of the connection is the client.
    #[serde(default, skip_serializing_if = "is_default")]
    pub trusted_proxy_hops: u16,
    /// How long a stream is silent at most before it shows that it lives, milliseconds; for as long as its backend, if there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_heartbeat_ms: Option<u64>,
    /// Origins whose pages may use the API from a browser, such as `https://app.example.com`; `*` is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<String>,
    /// How several voices answer together.
    pub synthesis: Synthesis,
    /// Who may do what; whoever has a token may do everything where there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
}

impl Policy {
    /// All stores that replicas enter.
    pub fn stores(&self) -> impl Iterator<Item = &Store> {
        let shared = self.cache.as_ref().and_then(|cache| cache.shared.as_ref());
        self.store.iter().chain(shared.map(|shared| &shared.store))
    }
}

/// Claims that every access token carries (RFC 9068).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Identity {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// Life of an access token, seconds.
    pub access_token_seconds: u32,
}

/// What the replica logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Observability {
    /// The least severe level that is written.
    pub log_level: LogLevel,
    /// Which requests get a line.
    #[serde(default, skip_serializing_if = "is_default")]
    pub access_log: AccessLog,
    /// Where requests are told of as traces, if anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traces: Option<Traces>,
}

/// Where requests are told of as traces, and which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Traces {
    /// Base URL of a collector that takes OTLP over HTTP; `/v1/traces` is appended.
    pub endpoint: String,
    /// A sample of so many percent, of those that no client traces: for the others, the client decides.
    pub sample_percent: u16,
}

/// Which requests get a line of the log: all that fail for the service's or a backend's sake, and of the others these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessLog {
    /// A sample of so many percent.
    pub sample_percent: u16,
    /// All that took longer, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slower_than_ms: Option<u64>,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self { sample_percent: 100, slower_than_ms: None }
    }
}

/// Severity of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// One place where models answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backend {
    /// Unique name; also the file name of its credential.
    pub name: String,
    /// How it is reached.
    pub kind: BackendKind,
    /// Models that clients may name.
    pub models: Vec<Model>,
    /// How long each phase of a request may take.
    pub timeouts: Timeouts,
    /// Of the backends of one model, those with the lowest number are asked first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: u16,
    /// Its share of the requests among backends of one model and priority: as many times that of one of weight 1. One of weight 0 is asked only
    /// when no other is left.
    #[serde(default = "weight_of_one", skip_serializing_if = "is_weight_of_one")]
    pub weight: u16,
    /// When it is left alone because it fails.
    #[serde(default, skip_serializing_if = "is_default")]
    pub circuit_breaker: CircuitBreaker,
    /// How many requests it is sent at once; as many as come, if there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
}

/// The weight of a backend that is given none.
const fn weight_of_one() -> u16 {
    1
}

fn is_weight_of_one(weight: &u16) -> bool {
    *weight == weight_of_one()
}

/// What is as it is by default is left out: a policy keeps its hash when a new field comes to the product.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// When a backend that fails is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CircuitBreaker {
    /// Share of requests that fail, percent.
    pub error_rate_percent: u16,
    /// Requests within about ten seconds below which the share says nothing.
    pub minimum_requests: u32,
    /// How long it is left alone at first, milliseconds; longer each time that it fails again.
    pub open_for_ms: u64,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self { error_rate_percent: 75, minimum_requests: 20, open_for_ms: 10_000 }
    }
}

/// How a backend is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BackendKind {
    /// Over HTTP.
    Remote(Remote),
    /// In the replica's own process.
    Embedded(Embedded),
}

/// A backend that is asked over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Remote {
    /// Base URL: for OpenAI's protocol up to and without `/chat/completions`, for the others without the version too.
    pub url: String,
    /// Whether a credential file of the backend's name exists, sent as the protocol has it.
    pub has_credential: bool,
    /// What it speaks.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protocol: Protocol,
}

/// What a backend speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// OpenAI's API, which many others speak too.
    #[default]
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
    /// Ollama's own chat API, and OpenAI's for all but chats.
    Ollama(Ollama),
}

/// What Ollama is told with each chat; its own defaults hold for what is not said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ollama {
    /// Tokens of a prompt and its answer together that the model is to have room for; of what is longer, the beginning is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u32>,
    /// For how long the model stays in memory after a chat, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_alive_seconds: Option<u32>,
}

/// A model file that the replica loads itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Embedded {
    /// The GGUF file, absolute, as the replica sees it.
    pub path: String,
    /// SHA-256 of the file, lower-case hexadecimal; any other file is refused.
    pub sha256: String,
}

/// A model that clients may name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Model {
    /// The name that the backend knows.
    pub name: String,
    /// The name that clients use instead, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// What it is good at, for requests that leave it to the service which model answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// The kinds of work that it is for then; all if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<Task>,
}

impl Model {
    /// The name that clients use.
    pub fn public_name(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.name)
    }
}

/// How long each phase of a request may take, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Timeouts {
    /// Until the connection stands.
    pub connect_ms: u64,
    /// From the request to the first byte of the answer.
    pub first_byte_ms: u64,
    /// Between two pieces of an answer.
    pub idle_ms: u64,
    /// The whole request.
    pub total_ms: u64,
}

/// How several voices answer together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Synthesis {
    /// Every voice that a request may name.
    pub voices: Vec<Voice>,
    /// The voices of a request that names none.
    pub default_voices: Vec<String>,
    /// The mode of a request that names none.
    pub default_mode: Mode,
    /// Tokens that one voice may write.
    pub max_tokens_per_voice: u32,
}

/// One way of answering: a temperament and its instructions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Voice {
    /// Unique name.
    pub name: String,
    /// Sampling temperature in hundredths (90 is 0.9).
    pub temperature_percent: u16,
    /// System prompt.
    pub prompt: String,
}

/// How the voices' answers become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// The candidate with the best evidence wins.
    Competitive,
}
