//! `ModelBackend`: one place where models answer.

use crate::duration::Duration;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// One place where models answer: a server that is asked over HTTP, or a model file that the replicas load themselves.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "codecrucible.dev",
    version = "v1alpha1",
    kind = "ModelBackend",
    namespaced,
    shortname = "mb",
    category = "codecrucible-all",
    doc = "One place where models answer. It has no status: what is wrong with it stands in the conditions of the CodeCrucibles that name it.",
    derive = "PartialEq",
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.url"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[cfg_attr(test, kube(cel))]
#[allow(clippy::duplicated_attributes, reason = "columns have a type each")]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.type != 'Embedded') == has(self.url)").message("url is not allowed for type Embedded and required for all other types"))]
#[x_kube(validation = Rule::new("(self.type == 'Embedded') == has(self.embedded)").message("embedded is required for type Embedded and not allowed for other types"))]
#[x_kube(validation = Rule::new("!has(self.credentialsSecretRef) || self.type != 'Embedded'").message("credentialsSecretRef is not allowed for type Embedded"))]
#[x_kube(validation = Rule::new("!has(self.url) || !(self.type in ['Anthropic', 'Ollama']) || !self.url.matches('/v1/?$')").message("url must be without the version for types Anthropic and Ollama: take /v1 off"))]
#[x_kube(validation = Rule::new("!has(self.ollama) || self.type == 'Ollama'").message("ollama is only allowed for type Ollama"))]
pub struct ModelBackendSpec {
    /// How the models are reached: by OpenAI's HTTP API (`OpenAI`: also vLLM, SGLang, llama.cpp and many more; answers pass byte for byte to clients of
    /// that API), by Anthropic's (`Anthropic`, or what is like it: chats only, translated for other clients), by Ollama's own (`Ollama`: for chats, and
    /// for all else by the one like OpenAI's), or in the replica's own process (`Embedded`).
    #[serde(rename = "type")]
    pub type_: BackendType,
    /// Base URL of the server: for type `OpenAI` such as `http://vllm.models.svc:8000/v1`, to which `/chat/completions` is appended; for the others
    /// without the version, such as `https://api.anthropic.com` or `http://ollama.models.svc:11434`. The service's network policy opens the URL's
    /// port, so it must be the one that the server's pods listen on. It speaks HTTP/1.1; with `https` its certificate must be publicly trusted, as
    /// the authorities are those that the image was built with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = r"^https?://[^\s/?#@][^\s?#@]*$"))]
    pub url: Option<String>,
    /// The key of a Secret whose value is sent as a bearer token, for type `Anthropic` as `x-api-key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretKeyReference>,
    /// Models that clients may name.
    #[schemars(length(min = 1, max = 256))]
    pub models: Vec<Model>,
    /// How long each phase of a request may take: a number and ms, s, m or h, at most 1h each. `total` is counted from the request's
    /// start, also where other backends were asked before.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Of the backends of one model, those of the lowest number are asked first; the others when none of them answers.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub priority: i32,
    /// Its share among the backends of one model and priority: one of weight 3 is drawn three times as often as one of weight 1. Two
    /// are drawn for each request, and the one that has less to do for its weight and answers sooner is asked. One of weight 0 is asked
    /// only when no other is left: so it can be drained.
    #[serde(default = "default_weight")]
    #[schemars(range(min = 0, max = 100))]
    pub weight: i32,
    /// When the backend is left alone because it fails.
    #[serde(default)]
    pub circuit_breaker: CircuitBreaker,
    /// How many requests each replica sends it at once, so all of them together as many times that; as many as come, if it is not given. When none of a
    /// model's backends of one priority has room, requests wait for the one that is expected to have some first, the more urgent before the others, before
    /// those of weight 0 and then those of the next priority are asked. Who could not have a turn in time is refused at once, with 503 and when to come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// What the server is told with each chat, for type `Ollama`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ollama: Option<Ollama>,
    /// The model file, for type `Embedded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedded: Option<EmbeddedModel>,
}

/// How the models are reached.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
pub enum BackendType {
    /// A server with OpenAI's HTTP API: OpenAI, vLLM, SGLang, llama.cpp and many more. Its answers pass byte for byte to clients of that API.
    OpenAI,
    /// Anthropic's API, or one like it, which answers chats. What clients of OpenAI's API ask is translated, and back.
    Anthropic,
    /// An Ollama server, asked by its own API for chats, and by the one like OpenAI's for all else.
    Ollama,
    /// A model file in the replica's own process.
    Embedded,
}

/// What an Ollama server is told with each chat; its own defaults hold for what is not given.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Ollama {
    /// Tokens of a prompt and its answer together that a model is to have room for, in chats, messages and synthesis; for other routes it is the
    /// server's own `OLLAMA_CONTEXT_LENGTH` that counts. Of what is longer, the server drops the beginning without telling anybody; its own default is
    /// 4096 on many machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 256, max = 4194304))]
    pub context_tokens: Option<i32>,
    /// For how long a model stays in memory after a chat: a number and s, m, h or d, 1s to 168h (not Ollama's 0 or -1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<Duration>,
}

/// One key of a Secret in the same namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
pub struct SecretKeyReference {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))]
    pub name: String,
    /// The key.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9._-]+$"))]
    pub key: String,
}

/// A model that clients may name.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
pub struct Model {
    /// The name that the backend knows.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The name that clients use instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub alias: Option<String>,
    /// What it is good at, for requests that leave it to the service which model answers (see `spec.routing.automatic` of `CodeCrucible`): `Fast` for what
    /// is easy, `Quality` for what is hard; without it, the model is never chosen so. The same wherever the model is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// The kinds of work that it is for then: it comes before models for all, and is not asked for other kinds. All, if none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 6))]
    pub tasks: Vec<Task>,
}

/// What a model is good at.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Tier {
    Fast,
    Quality,
}

/// A kind of work.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Task {
    Write,
    Change,
    Fix,
    Review,
    Test,
    Explain,
}

/// How long each phase of a request may take, at most one hour each.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Timeouts {
    /// Until an address is reached; to find the name and to agree on encryption may take 6 s more in all. Who takes longer is as if nobody was there.
    pub connect: Duration,
    /// From the request to the first byte of the answer.
    pub first_byte: Duration,
    /// Between two pieces of a streamed answer.
    pub idle: Duration,
    /// The whole request.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::literal("5s"),
            first_byte: Duration::literal("60s"),
            idle: Duration::literal("60s"),
            total: Duration::literal("10m"),
        }
    }
}

fn default_weight() -> i32 {
    1
}

/// When a backend is left alone because it fails, by each replica for itself. It comes back little by little. One that refuses three
/// connections in a row is left alone for a second without further ado, or for `openFor`, if that is less.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct CircuitBreaker {
    /// Share of its requests that fail, percent: without an answer in time, with one that is not in the protocol, or with a status of
    /// 500 or above.
    #[schemars(range(min = 1, max = 100))]
    pub error_rate_percent: i32,
    /// Requests within about ten seconds below which the share says nothing.
    #[schemars(range(min = 1, max = 10000))]
    pub minimum_requests: i32,
    /// How long it is left alone: a number and ms, s, m or h, 100ms to 1h. Twice as long each time that it fails again, up to eight times.
    pub open_for: Duration,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self { error_rate_percent: 75, minimum_requests: 20, open_for: Duration::literal("10s") }
    }
}

/// How many requests a backend is sent at once.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Concurrency {
    /// At most so many; streams count to their end.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_requests: i32,
    /// Whether it is fewer, down to 2, when the backend begins to answer streams more than half as late again as it does without load; and more again when
    /// it does not.
    #[serde(default)]
    pub adaptive: bool,
    /// Who waits for one of them to end.
    #[serde(default)]
    pub queue: Queue,
}

/// Requests that wait for a backend to have room.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Queue {
    /// At most so many; a more urgent one takes the place of the last. With 0 nobody waits.
    #[schemars(range(min = 0, max = 10_000))]
    pub max_requests: i32,
    /// For so long at most: a number and ms, s or m, 10ms to 10m.
    pub timeout: Duration,
}

impl Default for Queue {
    fn default() -> Self {
        Self { max_requests: 100, timeout: Duration::literal("10s") }
    }
}

/// A GGUF model file on a volume.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmbeddedModel {
    /// A claim in the same namespace, mounted read-only by every replica: ReadOnlyMany or ReadWriteMany, unless all
    /// replicas run on one node.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))]
    pub persistent_volume_claim: String,
    /// The file, relative to the volume's root.
    #[schemars(
        length(min = 1, max = 1024),
        regex(pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$")
    )]
    pub path: String,
    /// SHA-256 of the file, lower-case hexadecimal; any other file is refused.
    #[schemars(length(min = 64, max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn problems(spec: Value) -> String {
        let backend = ModelBackend::new("b", serde_json::from_value(spec).unwrap());
        backend.validate_cel().map_or_else(|errors| errors.to_string(), |()| String::new())
    }

    fn embedded() -> Value {
        json!({"persistentVolumeClaim": "models", "path": "m.gguf", "sha256": "0".repeat(64)})
    }

    #[test]
    fn one_of_url_and_embedded_goes_with_each_type() {
        let models = json!([{"name": "m"}]);
        for type_ in ["Anthropic", "Ollama"] {
            assert_eq!(problems(json!({"type": type_, "url": "http://x", "models": models})), "");
        }
        for url in ["http://x/v1", "http://x/v1/"] {
            let problems = problems(json!({"type": "Ollama", "url": url, "models": models}));
            assert!(problems.contains("take /v1 off"), "{problems}");
        }
        let ollama = json!({"contextTokens": 8192, "keepAlive": "5m"});
        let spec =
            |type_: &str| json!({"type": type_, "url": "http://x", "models": models, "ollama": ollama});
        assert_eq!(problems(spec("Ollama")), "");
        assert!(problems(spec("OpenAI")).contains("ollama is only allowed"));
        assert_eq!(problems(json!({"type": "OpenAI", "url": "http://x/v1", "models": models})), "");
        assert_eq!(problems(json!({"type": "Embedded", "embedded": embedded(), "models": models})), "");
        assert!(
            problems(json!({"type": "OpenAI", "models": models}))
                .contains("url is not allowed for type Embedded")
        );
        assert!(problems(json!({"type": "Embedded", "models": models})).contains("embedded is required"));
        let both = json!({"type": "OpenAI", "url": "http://x", "embedded": embedded(), "models": models});
        assert!(problems(both).contains("embedded is required for type Embedded and not allowed"));
    }

    #[test]
    fn an_embedded_model_has_no_credentials() {
        let reference = json!({"name": "s", "key": "k"});
        let spec = json!({"type": "Embedded", "embedded": embedded(), "models": [{"name": "m"}], "credentialsSecretRef": reference});
        assert!(problems(spec).contains("credentialsSecretRef is not allowed"));
    }
}
