//! From the resource's fields to the policy's.

use super::Invalid;
use crate::service::pod::MODELS_FOLDER;
use codecrucible_contract::{self as contract, BackendKind, BundleError, Protocol, voices};
use codecrucible_crds::{
    AccessLog, BackendType, CircuitBreaker, CodeCrucible, Concurrency, Duration, LogLevel, Model,
    ModelBackend, ModelBackendSpec, Ollama, Queue, SecretMode, SecretPattern, SecretRedaction, SynthesisMode,
    Task, Tier, Timeouts, Traces, Voice,
};
use kube::ResourceExt as _;

pub(super) fn identity(resource: &CodeCrucible, endpoint: &str) -> Result<contract::Identity, Invalid> {
    let lifetime = &resource.spec.auth.access_token_lifetime;
    Ok(contract::Identity {
        issuer: endpoint.to_owned(),
        audience: format!("{}.{}", resource.name_any(), resource.namespace().unwrap_or_default()),
        access_token_seconds: seconds("spec.auth.accessTokenLifetime", lifetime)?,
    })
}

pub(super) fn observability(resource: &CodeCrucible) -> Result<contract::Observability, Invalid> {
    let log_level = match resource.spec.observability.log_level {
        LogLevel::Error => contract::LogLevel::Error,
        LogLevel::Warn => contract::LogLevel::Warn,
        LogLevel::Info => contract::LogLevel::Info,
        LogLevel::Debug => contract::LogLevel::Debug,
        LogLevel::Trace => contract::LogLevel::Trace,
    };
    let AccessLog { sample_percent, slower_than } = &resource.spec.observability.access_log;
    let slower_than_ms =
        slower_than.as_ref().map(|most| milliseconds("spec.observability.accessLog.slowerThan", most));
    let access_log = contract::AccessLog {
        sample_percent: number("spec.observability.accessLog.samplePercent", *sample_percent)?,
        slower_than_ms: slower_than_ms.transpose()?,
    };
    let traces = resource.spec.observability.traces.as_ref().map(|Traces { endpoint, sample_percent }| {
        let sample_percent = number("spec.observability.traces.samplePercent", *sample_percent)?;
        Ok(contract::Traces { endpoint: endpoint.clone(), sample_percent })
    });
    Ok(contract::Observability { log_level, access_log, traces: traces.transpose()? })
}

pub(super) fn backend(path: &str, name: &str, backend: &ModelBackend) -> Result<contract::Backend, Invalid> {
    let at = format!("{path}: ModelBackend {name:?} spec");
    let spec = &backend.spec;
    let kind = match protocol(&at, spec)? {
        Some(protocol) => BackendKind::Remote(contract::Remote {
            url: spec.url.clone().ok_or_else(|| Invalid::value(format!("{at}.url: is required")))?,
            has_credential: spec.credentials_secret_ref.is_some(),
            protocol,
        }),
        None => {
            let required = || Invalid::value(format!("{at}.embedded: is required for type Embedded"));
            let embedded = spec.embedded.as_ref().ok_or_else(required)?;
            BackendKind::Embedded(contract::Embedded {
                path: format!("{MODELS_FOLDER}/{name}/{}", embedded.path),
                sha256: embedded.sha256.clone(),
            })
        }
    };
    let models = spec.models.iter().map(model);
    Ok(contract::Backend {
        name: name.to_owned(),
        kind,
        models: models.collect(),
        timeouts: timeouts(&at, &spec.timeouts)?,
        priority: number(&format!("{at}.priority"), spec.priority)?,
        weight: number(&format!("{at}.weight"), spec.weight)?,
        circuit_breaker: circuit_breaker(&format!("{at}.circuitBreaker"), &spec.circuit_breaker)?,
        concurrency: spec
            .concurrency
            .as_ref()
            .map(|given| concurrency(&format!("{at}.concurrency"), given))
            .transpose()?,
    })
}

fn model(model: &Model) -> contract::Model {
    let tier = model.tier.map(|tier| match tier {
        Tier::Fast => contract::Tier::Fast,
        Tier::Quality => contract::Tier::Quality,
    });
    let task = |task: &Task| match task {
        Task::Write => contract::Task::Write,
        Task::Change => contract::Task::Change,
        Task::Fix => contract::Task::Fix,
        Task::Review => contract::Task::Review,
        Task::Test => contract::Task::Test,
        Task::Explain => contract::Task::Explain,
    };
    let tasks = model.tasks.iter().map(task).collect();
    contract::Model { name: model.name.clone(), alias: model.alias.clone(), tier, tasks }
}

/// What a backend speaks that is asked over HTTP; nothing for others.
fn protocol(at: &str, spec: &ModelBackendSpec) -> Result<Option<Protocol>, Invalid> {
    Ok(match spec.type_ {
        BackendType::OpenAI => Some(Protocol::OpenAi),
        BackendType::Anthropic => Some(Protocol::Anthropic),
        BackendType::Ollama => {
            let Ollama { context_tokens, keep_alive } = spec.ollama.clone().unwrap_or_default();
            let context = context_tokens.map(|tokens| number(&format!("{at}.ollama.contextTokens"), tokens));
            let keep = keep_alive.map(|keep| seconds(&format!("{at}.ollama.keepAlive"), &keep));
            Some(Protocol::Ollama(contract::Ollama {
                context_tokens: context.transpose()?,
                keep_alive_seconds: keep.transpose()?,
            }))
        }
        BackendType::Embedded => None,
    })
}

fn circuit_breaker(at: &str, breaker: &CircuitBreaker) -> Result<contract::CircuitBreaker, Invalid> {
    let CircuitBreaker { error_rate_percent, minimum_requests, open_for } = breaker;
    Ok(contract::CircuitBreaker {
        error_rate_percent: number(&format!("{at}.errorRatePercent"), *error_rate_percent)?,
        minimum_requests: number(&format!("{at}.minimumRequests"), *minimum_requests)?,
        open_for_ms: milliseconds(&format!("{at}.openFor"), open_for)?,
    })
}

fn concurrency(at: &str, concurrency: &Concurrency) -> Result<contract::Concurrency, Invalid> {
    let Concurrency { max_requests, adaptive, queue: Queue { max_requests: queued, timeout } } = concurrency;
    Ok(contract::Concurrency {
        max_requests: number(&format!("{at}.maxRequests"), *max_requests)?,
        adaptive: *adaptive,
        queue: contract::Queue {
            max_requests: number(&format!("{at}.queue.maxRequests"), *queued)?,
            timeout_ms: milliseconds(&format!("{at}.queue.timeout"), timeout)?,
        },
    })
}

pub(super) fn redaction(resource: &CodeCrucible) -> Option<contract::Redaction> {
    let SecretRedaction { mode, answers, patterns } = resource.spec.validation.secrets.clone()?;
    let pattern = |SecretPattern { name, pattern }| contract::SecretPattern { name, pattern };
    Some(contract::Redaction {
        is_shadow: mode == SecretMode::Shadow,
        answers: answers.map(|mode| match mode {
            SecretMode::Enforce => contract::RedactionMode::Enforce,
            SecretMode::Shadow => contract::RedactionMode::Shadow,
        }),
        patterns: patterns.into_iter().map(pattern).collect(),
    })
}

pub(super) fn stream_heartbeat(resource: &CodeCrucible) -> Result<Option<u64>, Invalid> {
    let every = resource.spec.network.stream_heartbeat.as_ref();
    every.map(|every| milliseconds("spec.network.streamHeartbeat", every)).transpose()
}

pub(super) fn trusted_proxy_hops(resource: &CodeCrucible) -> Result<u16, Invalid> {
    number("spec.network.trustedProxyHops", resource.spec.network.trusted_proxy_hops)
}

/// The API has no unsigned numbers. How large one may be is for the policy's own rules to say.
pub(super) fn number<T: TryFrom<i32>>(path: &str, value: i32) -> Result<T, Invalid> {
    T::try_from(value).map_err(|_| Invalid::value(format!("{path}: {value} is negative, or far too large")))
}

fn timeouts(at: &str, timeouts: &Timeouts) -> Result<contract::Timeouts, Invalid> {
    let Timeouts { connect, first_byte, idle, total } = timeouts;
    Ok(contract::Timeouts {
        connect_ms: milliseconds(&format!("{at}.timeouts.connect"), connect)?,
        first_byte_ms: milliseconds(&format!("{at}.timeouts.firstByte"), first_byte)?,
        idle_ms: milliseconds(&format!("{at}.timeouts.idle"), idle)?,
        total_ms: milliseconds(&format!("{at}.timeouts.total"), total)?,
    })
}

pub(super) fn milliseconds(path: &str, duration: &Duration) -> Result<u64, Invalid> {
    let length = duration.get().map_err(|_| {
        Invalid::value(format!("{path}: {:?} is not a number and a unit, such as 15m", duration.as_str()))
    })?;
    u64::try_from(length.as_millis())
        .map_err(|_| Invalid::value(format!("{path}: {:?} is too long", duration.as_str())))
}

pub(super) fn seconds(path: &str, duration: &Duration) -> Result<u32, Invalid> {
    u32::try_from(milliseconds(path, duration)? / 1_000)
        .map_err(|_| Invalid::value(format!("{path}: {:?} is too long", duration.as_str())))
}

pub(super) fn synthesis(resource: &CodeCrucible) -> Result<contract::Synthesis, Invalid> {
    let synthesis = &resource.spec.synthesis;
    let mut compiled = voices::built_in();
    for (index, declared) in synthesis.voices.iter().enumerate() {
        let path = format!("spec.synthesis.voices[{index}]");
        if synthesis.voices[..index].iter().any(|earlier| earlier.name == declared.name) {
            return Err(Invalid::value(format!("{path}.name: {:?} occurs twice", declared.name)));
        }
        let voice = voice(&path, declared)?;
        match compiled.iter_mut().find(|built_in| built_in.name == voice.name) {
            Some(built_in) => *built_in = voice,
            None => compiled.push(voice),
        }
    }
    let max_tokens_per_voice = u32::try_from(synthesis.max_tokens_per_voice)
        .map_err(|_| Invalid::value("spec.synthesis.maxTokensPerVoice: is negative".into()))?;
    Ok(contract::Synthesis {
        voices: compiled,
        default_voices: synthesis.default_voices.clone(),
        default_mode: match synthesis.default_mode {
            SynthesisMode::Competitive => contract::Mode::Competitive,
        },
        max_tokens_per_voice,
    })
}

/// A voice is checked here already: in the policy, where it stands among the built-in ones, it has another
/// place than in the resource.
fn voice(path: &str, declared: &Voice) -> Result<contract::Voice, Invalid> {
    let temperature_percent = u16::try_from(declared.temperature_percent).map_err(|_| {
        Invalid::value(format!("{path}.temperaturePercent: {} is negative", declared.temperature_percent))
    })?;
    let (name, prompt) = (declared.name.clone(), declared.prompt.clone());
    let voice = contract::Voice { name, temperature_percent, prompt };
    match voice.validate() {
        Ok(()) => Ok(voice),
        Err(contract::Invalid { path: field, problem }) => {
            Err(Invalid::value(format!("{path}.{field}: {problem}")))
        }
    }
}

/// Says where in the resource, or its backends, the compiled policy's problem comes from.
pub(super) fn explain(error: &BundleError, resource: &CodeCrucible) -> String {
    let BundleError::Invalid(contract::Invalid { path, problem }) = error else {
        return format!("spec: {error}");
    };
    let in_backend = path.strip_prefix("backends[").and_then(|rest| rest.split_once(']'));
    if let Some((index, field)) = in_backend {
        let name = index.parse::<usize>().ok().and_then(|index| resource.spec.backends.get(index));
        let field =
            field.replace(".kind.remote", "").replace(".protocol", "").replace(".kind.embedded", ".embedded");
        let field = field.replace("Ms", "").replace("keepAliveSeconds", "keepAlive");
        return format!(
            "spec.backends[{index}]: ModelBackend {:?} spec{field}: {problem}",
            name.map_or("", String::as_str)
        );
    }
    let field = match path.as_str() {
        "identity.accessTokenSeconds" => "auth.accessTokenLifetime".to_owned(),
        "observability.accessLog.slowerThanMs" => "observability.accessLog.slowerThan".to_owned(),
        "cache.memoryBytes" => "cache.memory".to_owned(),
        origin if origin.starts_with("allowedOrigins") => format!("network.{origin}"),
        "streamHeartbeatMs" => "network.streamHeartbeat".to_owned(),
        "trustedProxyHops" => "network.trustedProxyHops".to_owned(),
        other => {
            let within = |prefix: &str| other.strip_prefix(prefix);
            if let Some(limit) = within("limits.rules") {
                format!("rateLimits{}", matched(&limit.replace("windowMs", "window")))
            } else if let Some(field) = within("routing") {
                format!("routing{}", matched(&field.replace("hedgeAfterMs", "hedgeAfter")))
            } else if let Some(field) = within("redaction") {
                format!("validation.secrets{field}")
            } else if let Some(store) = within("cache.shared.store") {
                format!("cache.redis{store}")
            } else if let Some(rule) = within("cache.rules") {
                format!("cache.rules{}", matched(&rule.replace("ttlMs", "ttl")))
            } else if let Some(store) = within("store") {
                format!("redis{store}")
            } else {
                other.to_owned()
            }
        }
    };
    format!("spec.{field}: {problem}")
}

/// What a rule is matched by is a group of its own in the resource.
fn matched(path: &str) -> String {
    let fields = ["models", "namespaces", "exceptNamespaces"];
    fields
        .iter()
        .fold(path.to_owned(), |path, field| path.replace(&format!("].{field}"), &format!("].match.{field}")))
}
