//! The rules of a policy that types cannot state, each with its limit.

use crate::access::Access;
use crate::policy::{
    AccessLog, Backend, BackendKind, CircuitBreaker, Model, Ollama, Policy, Protocol, Synthesis, Timeouts,
    Traces, Voice,
};
use crate::redaction::Redaction;
use crate::store::Store;
use std::collections::{HashMap, HashSet};

/// Most backends of one policy.
const MAX_BACKENDS: usize = 64;
/// Most models of one backend.
const MAX_MODELS: usize = 256;
/// Most voices of one policy.
const MAX_VOICES: usize = 64;
/// Most voices that answer one request.
pub(crate) const MAX_VOICES_PER_REQUEST: usize = 5;
/// Longest name, bytes.
const MAX_NAME_BYTES: usize = 253;
/// Longest prompt of a voice, bytes.
const MAX_PROMPT_BYTES: usize = 16 * 1024;
/// Longest phase of a request, milliseconds (one hour).
const MAX_TIMEOUT_MS: u64 = 3_600_000;
/// Shortest and longest life of an access token, seconds (one minute, one day).
const ACCESS_TOKEN_SECONDS: std::ops::RangeInclusive<u32> = 60..=86_400;
/// Last of the priorities.
const MAX_PRIORITY: u16 = 100;
/// Largest weight.
const MAX_WEIGHT: u16 = 100;
/// Most requests below which a share of failures says nothing.
const MAX_MINIMUM_REQUESTS: u32 = 10_000;
/// Shortest time that a backend is left alone, milliseconds.
const MIN_OPEN_MS: u64 = 100;
/// A whole, percent.
pub(crate) const WHOLE_PERCENT: u16 = 100;
/// What is wrong with an address.
const NO_BASE_URL: &str = "is not an http or https URL in ASCII, without query, fragment and credentials, and with a \
                           port of 1 to 65535 if it names one";
/// Least and most tokens that an Ollama server's model may have room for.
const MIN_CONTEXT_TOKENS: u32 = 256;
const MAX_CONTEXT_TOKENS: u32 = 4_194_304;
/// Longest time that a model stays in such a server's memory, seconds (a week).
const MAX_KEEP_ALIVE_SECONDS: u32 = 604_800;
/// Most tokens that one voice may write.
const MAX_TOKENS_PER_VOICE: u32 = 32_768;
/// Most origins whose pages may use the API.
const MAX_ORIGINS: usize = 32;
/// Most proxies between clients and the service.
const MAX_TRUSTED_PROXY_HOPS: u16 = 8;
/// Shortest and longest silence of a stream, milliseconds (1 s, 10 minutes).
const HEARTBEAT_MS: std::ops::RangeInclusive<u64> = 1_000..=600_000;
/// Hottest temperature, hundredths.
const MAX_TEMPERATURE_PERCENT: u16 = 200;

/// A value that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct Invalid {
    /// Where in the policy, such as `backends[1].models`.
    pub path: String,
    /// What is wrong, with the limit.
    pub problem: String,
}

/// Fine, or the first rule that is broken.
pub(crate) type Checked = Result<(), Invalid>;

impl Policy {
    /// Checks every rule; the first one broken is reported.
    pub fn validate(&self) -> Checked {
        let seconds = self.identity.access_token_seconds;
        check(ACCESS_TOKEN_SECONDS.contains(&seconds), "identity.accessTokenSeconds", || {
            format!("{seconds} is outside 60 to 86400 seconds")
        })?;
        name("identity.issuer", &self.identity.issuer)?;
        name("identity.audience", &self.identity.audience)?;
        access_log(self.observability.access_log)?;
        self.observability.traces.as_ref().map_or(Ok(()), traces)?;
        backends(&self.backends)?;
        let models = self.backends.iter().flat_map(|backend| &backend.models).map(Model::public_name);
        let models = models.collect();
        self.routing.validate(&models)?;
        let has_tier =
            self.backends.iter().flat_map(|backend| &backend.models).any(|model| model.tier.is_some());
        check(self.routing.automatic.is_none() || has_tier, "routing.automatic", || {
            "no model of any backend has a tier, so there is nothing to choose from".into()
        })?;
        tiers(&self.backends)?;
        self.limits.validate(self.store.is_some(), &models)?;
        self.cache.as_ref().map_or(Ok(()), |cache| cache.validate(&models))?;
        self.store.as_ref().map_or(Ok(()), Store::validate)?;
        self.redaction.as_ref().map_or(Ok(()), Redaction::validate)?;
        let hops = self.trusted_proxy_hops;
        check(hops <= MAX_TRUSTED_PROXY_HOPS, "trustedProxyHops", || {
            format!("{hops} is more than {MAX_TRUSTED_PROXY_HOPS}")
        })?;
        if let Some(every) = self.stream_heartbeat_ms {
            check(HEARTBEAT_MS.contains(&every), "streamHeartbeatMs", || {
                let (least, most) = (HEARTBEAT_MS.start(), HEARTBEAT_MS.end());
                format!("{every} is outside {least} to {most} milliseconds")
            })?;
        }
        origins(&self.allowed_origins)?;
        self.synthesis.validate()?;
        self.access.as_ref().map_or(Ok(()), Access::validate)
    }
}

fn origins(origins: &[String]) -> Checked {
    check(origins.len() <= MAX_ORIGINS, "allowedOrigins", || {
        format!("has {} entries, more than {MAX_ORIGINS}", origins.len())
    })?;
    origins.iter().enumerate().try_for_each(|(index, origin)| {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte);
        let is_origin = host.is_some_and(|host| !host.is_empty() && host.bytes().all(is_plain));
        check(origin.len() <= MAX_NAME_BYTES && (is_origin || origin == "*"), &format!("allowedOrigins[{index}]"), || {
            format!("{origin:?} is not a scheme, a host in lower case and perhaps a port, such as https://app.example.com, nor *")
        })
    })
}

fn access_log(AccessLog { sample_percent, slower_than_ms }: AccessLog) -> Checked {
    check(sample_percent <= WHOLE_PERCENT, "observability.accessLog.samplePercent", || {
        format!("{sample_percent} is more than {WHOLE_PERCENT} percent")
    })?;
    let is_time = slower_than_ms.is_none_or(|most| (1..=MAX_TIMEOUT_MS).contains(&most));
    check(is_time, "observability.accessLog.slowerThanMs", || {
        format!("{slower_than_ms:?} is outside 1 to {MAX_TIMEOUT_MS} milliseconds")
    })
}

fn backends(backends: &[Backend]) -> Checked {
    count("backends", backends.len(), MAX_BACKENDS)?;
    let mut names = HashSet::new();
    for (index, backend) in backends.iter().enumerate() {
        let path = format!("backends[{index}]");
        name(&format!("{path}.name"), &backend.name)?;
        // The name is a file name too.
        check(
            !backend.name.contains('/') && !backend.name.starts_with(['.', '_']),
            &format!("{path}.name"),
            || format!("{:?} is not a plain file name", backend.name),
        )?;
        check(names.insert(&backend.name), &format!("{path}.name"), || {
            format!("{:?} occurs twice", backend.name)
        })?;
        kind(&path, &backend.kind)?;
        timeouts(&path, &backend.timeouts)?;
        preference(&path, backend)?;
        circuit_breaker(&path, backend.circuit_breaker)?;
        let at = format!("{path}.concurrency");
        backend.concurrency.map_or(Ok(()), |concurrency| concurrency.validate(&at))?;
        let mut models = HashSet::new();
        count(&format!("{path}.models"), backend.models.len(), MAX_MODELS)?;
        for (index, model) in backend.models.iter().enumerate() {
            let path = format!("{path}.models[{index}]");
            name(&format!("{path}.name"), &model.name)?;
            name(&format!("{path}.alias"), model.public_name())?;
            check(models.insert(model.public_name()), &path, || {
                format!("the model {:?} is already an earlier entry of this backend", model.public_name())
            })?;
        }
    }
    Ok(())
}

/// What a model is good at is the same wherever it is served.
fn tiers(backends: &[Backend]) -> Checked {
    let mut known = HashMap::new();
    for (at, backend) in backends.iter().enumerate() {
        for (index, model) in backend.models.iter().enumerate() {
            let (first, before) = *known.entry(model.public_name()).or_insert((&*backend.name, model));
            let path = format!("backends[{at}].models[{index}]");
            let problem = |what| format!("the model {:?} has other {what} in {first:?}", model.public_name());
            check(before.tier == model.tier, &format!("{path}.tier"), || problem("tiers"))?;
            let has_all =
                |one: &Model, other: &Model| one.tasks.iter().all(|task| other.tasks.contains(task));
            let is_same = has_all(before, model) && has_all(model, before);
            check(is_same, &format!("{path}.tasks"), || problem("tasks"))?;
        }
    }
    Ok(())
}

fn preference(path: &str, backend: &Backend) -> Checked {
    let Backend { priority, weight, .. } = backend;
    check(*priority <= MAX_PRIORITY, &format!("{path}.priority"), || {
        format!("{priority} is more than {MAX_PRIORITY}")
    })?;
    check(*weight <= MAX_WEIGHT, &format!("{path}.weight"), || format!("{weight} is more than {MAX_WEIGHT}"))
}

fn traces(traces: &Traces) -> Checked {
    let Traces { endpoint, sample_percent } = traces;
    check(is_base_url(endpoint), "observability.traces.endpoint", || NO_BASE_URL.into())?;
    check(*sample_percent <= WHOLE_PERCENT, "observability.traces.samplePercent", || {
        format!("{sample_percent} is more than {WHOLE_PERCENT} percent")
    })
}

fn circuit_breaker(path: &str, breaker: CircuitBreaker) -> Checked {
    let CircuitBreaker { error_rate_percent, minimum_requests, open_for_ms } = breaker;
    check(
        (1..=WHOLE_PERCENT).contains(&error_rate_percent),
        &format!("{path}.circuitBreaker.errorRatePercent"),
        || format!("{error_rate_percent} is outside 1 to {WHOLE_PERCENT} percent"),
    )?;
    let minimum = 1..=MAX_MINIMUM_REQUESTS;
    check(minimum.contains(&minimum_requests), &format!("{path}.circuitBreaker.minimumRequests"), || {
        format!("{minimum_requests} is outside 1 to {MAX_MINIMUM_REQUESTS} requests")
    })?;
    check(
        (MIN_OPEN_MS..=MAX_TIMEOUT_MS).contains(&open_for_ms),
        &format!("{path}.circuitBreaker.openForMs"),
        || format!("{open_for_ms} is outside {MIN_OPEN_MS} to {MAX_TIMEOUT_MS} milliseconds"),
    )
}

fn kind(path: &str, kind: &BackendKind) -> Checked {
    match kind {
        BackendKind::Remote(remote) => {
            check(is_base_url(&remote.url), &format!("{path}.kind.remote.url"), || NO_BASE_URL.into())?;
            match &remote.protocol {
                Protocol::Ollama(settings) => {
                    ollama(&format!("{path}.kind.remote.protocol.ollama"), settings)
                }
                Protocol::OpenAi | Protocol::Anthropic => Ok(()),
            }
        }
        BackendKind::Embedded(embedded) => {
            check(embedded.path.starts_with('/'), &format!("{path}.kind.embedded.path"), || {
                format!("{:?} is not absolute", embedded.path)
            })?;
            let is_hash = embedded.sha256.len() == 64
                && embedded.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            check(is_hash, &format!("{path}.kind.embedded.sha256"), || {
                "is not 64 lower-case hexadecimal digits".into()
            })
        }
    }
}

fn ollama(path: &str, settings: &Ollama) -> Checked {
    let Ollama { context_tokens, keep_alive_seconds } = *settings;
    let within = |number: Option<u32>, least: u32, most: u32, field: &str, unit: &str| {
        check(
            number.is_none_or(|number| (least..=most).contains(&number)),
            &format!("{path}.{field}"),
            || format!("{} {unit} is outside {least} to {most}", number.unwrap_or_default()),
        )
    };
    within(context_tokens, MIN_CONTEXT_TOKENS, MAX_CONTEXT_TOKENS, "contextTokens", "tokens")?;
    within(keep_alive_seconds, 1, MAX_KEEP_ALIVE_SECONDS, "keepAliveSeconds", "seconds")
}

/// Strict, because a replica must be able to use whatever passes here.
fn is_base_url(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        is_authority(authority)
            && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%/:+,=".contains(&byte))
    })
}

pub(crate) fn is_authority(authority: &str) -> bool {
    let (is_host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => (
            address.parse::<std::net::Ipv6Addr>().is_ok(),
            if rest.is_empty() { Some("") } else { rest.strip_prefix(':') },
        ),
        None => {
            let (host, port) = authority.split_once(':').map_or((authority, ""), |(host, port)| (host, port));
            let is_host = !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
            (is_host, if authority.ends_with(':') { None } else { Some(port) })
        }
    };
    is_host && port.is_some_and(|port| port.is_empty() || port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn timeouts(path: &str, timeouts: &Timeouts) -> Checked {
    let Timeouts { connect_ms, first_byte_ms, idle_ms, total_ms } = *timeouts;
    let phases = [
        ("connectMs", connect_ms),
        ("firstByteMs", first_byte_ms),
        ("idleMs", idle_ms),
        ("totalMs", total_ms),
    ];
    for (field, value) in phases {
        check((1..=MAX_TIMEOUT_MS).contains(&value), &format!("{path}.timeouts.{field}"), || {
            format!("{value} is outside 1 to {MAX_TIMEOUT_MS} milliseconds")
        })?;
    }
    Ok(())
}

impl Synthesis {
    fn validate(&self) -> Checked {
        count("synthesis.voices", self.voices.len(), MAX_VOICES)?;
        let mut names = HashSet::new();
        for (index, voice) in self.voices.iter().enumerate() {
            let path = format!("synthesis.voices[{index}]");
            voice.validate().map_err(|invalid| invalid.below(&path))?;
            check(names.insert(voice.name.as_str()), &format!("{path}.name"), || {
                format!("{:?} occurs twice", voice.name)
            })?;
        }
        count("synthesis.defaultVoices", self.default_voices.len(), MAX_VOICES_PER_REQUEST)?;
        for (index, voice) in self.default_voices.iter().enumerate() {
            let path = format!("synthesis.defaultVoices[{index}]");
            check(names.contains(voice.as_str()), &path, || format!("there is no voice {voice:?}"))?;
            check(!self.default_voices[..index].contains(voice), &path, || {
                format!("{voice:?} is named twice")
            })?;
        }
        check(
            (1..=MAX_TOKENS_PER_VOICE).contains(&self.max_tokens_per_voice),
            "synthesis.maxTokensPerVoice",
            || format!("{} is outside 1 to {MAX_TOKENS_PER_VOICE}", self.max_tokens_per_voice),
        )
    }
}

impl Voice {
    /// Checks one voice; paths are relative to it.
    pub fn validate(&self) -> Checked {
        name("name", &self.name)?;
        check(self.prompt.len() <= MAX_PROMPT_BYTES, "prompt", || {
            format!("has {} bytes, more than {MAX_PROMPT_BYTES} bytes", self.prompt.len())
        })?;
        check(self.temperature_percent <= MAX_TEMPERATURE_PERCENT, "temperaturePercent", || {
            format!("{} is more than {MAX_TEMPERATURE_PERCENT}", self.temperature_percent)
        })
    }
}

impl Invalid {
    pub(crate) fn below(self, path: &str) -> Self {
        Self { path: format!("{path}.{}", self.path), ..self }
    }
}

pub(crate) fn name(path: &str, name: &str) -> Checked {
    check(!name.is_empty() && name.len() <= MAX_NAME_BYTES, path, || {
        format!("has {} bytes, outside 1 to {MAX_NAME_BYTES} bytes", name.len())
    })?;
    check(!name.chars().any(char::is_control), path, || "has a control character".into())
}

fn count(path: &str, count: usize, limit: usize) -> Checked {
    check((1..=limit).contains(&count), path, || format!("has {count} entries, outside 1 to {limit}"))
}

pub(crate) fn check(holds: bool, path: &str, problem: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Invalid { path: path.to_owned(), problem: problem() }) }
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::policy::*;
    use crate::voices;
    use crate::{Automatic, Concurrency, Queue, Routing, Tier};

    pub(crate) fn sample_policy() -> Policy {
        Policy {
            identity: Identity {
                issuer: "http://demo".into(),
                audience: "demo".into(),
                access_token_seconds: 900,
            },
            observability: Observability {
                log_level: LogLevel::Info,
                access_log: AccessLog::default(),
                traces: None,
            },
            backends: vec![Backend {
                name: "local".into(),
                kind: BackendKind::Remote(Remote {
                    url: "http://localhost:1".into(),
                    has_credential: false,
                    protocol: Protocol::OpenAi,
                }),
                models: vec![Model { name: "m".into(), ..Model::default() }],
                timeouts: Timeouts { connect_ms: 1, first_byte_ms: 1, idle_ms: 1, total_ms: 1 },
                priority: 0,
                weight: 1,
                circuit_breaker: CircuitBreaker::default(),
                concurrency: Some(Concurrency {
                    max_requests: 8,
                    adaptive: false,
                    queue: Queue { max_requests: 0, timeout_ms: 10 },
                }),
            }],
            routing: Routing::default(),
            limits: crate::Limits::default(),
            store: None,
            cache: None,
            redaction: None,
            trusted_proxy_hops: 0,
            stream_heartbeat_ms: None,
            allowed_origins: Vec::new(),
            synthesis: Synthesis {
                voices: voices::built_in(),
                default_voices: voices::DEFAULT.map(str::to_owned).to_vec(),
                default_mode: Mode::Competitive,
                max_tokens_per_voice: 512,
            },
            access: None,
        }
    }

    fn path_of(change: impl FnOnce(&mut Policy)) -> String {
        let mut policy = sample_policy();
        change(&mut policy);
        policy.validate().unwrap_err().path
    }

    #[test]
    fn the_sample_is_valid() {
        sample_policy().validate().unwrap();
    }

    #[test]
    fn every_broken_rule_is_reported_at_its_path() {
        assert_eq!(path_of(|p| p.identity.access_token_seconds = 59), "identity.accessTokenSeconds");
        assert_eq!(
            path_of(|p| p.observability.access_log.sample_percent = 101),
            "observability.accessLog.samplePercent"
        );
        assert_eq!(
            path_of(|p| p.observability.access_log.slower_than_ms = Some(0)),
            "observability.accessLog.slowerThanMs"
        );
        assert_eq!(path_of(|p| p.identity.issuer = String::new()), "identity.issuer");
        assert_eq!(path_of(|p| p.backends.clear()), "backends");
        assert_eq!(path_of(|p| p.backends.push(p.backends[0].clone())), "backends[1].name");
        assert_eq!(path_of(|p| p.backends[0].name = "../x".into()), "backends[0].name");
        assert_eq!(path_of(|p| p.backends[0].models.clear()), "backends[0].models");
        assert_eq!(path_of(|p| p.backends[0].timeouts.idle_ms = 0), "backends[0].timeouts.idleMs");
        assert_eq!(path_of(|p| p.backends[0].priority = 101), "backends[0].priority");
        assert_eq!(path_of(|p| p.backends[0].weight = 101), "backends[0].weight");
        assert_eq!(
            path_of(|p| p.backends[0].circuit_breaker.error_rate_percent = 0),
            "backends[0].circuitBreaker.errorRatePercent"
        );
        assert_eq!(
            path_of(|p| p.backends[0].circuit_breaker.minimum_requests = 0),
            "backends[0].circuitBreaker.minimumRequests"
        );
        assert_eq!(
            path_of(|p| p.backends[0].circuit_breaker.open_for_ms = 99),
            "backends[0].circuitBreaker.openForMs"
        );
        for (at, change) in [
            ("maxRequests", (|c| c.max_requests = 0) as fn(&mut Concurrency)),
            ("queue.maxRequests", |c| c.queue.max_requests = 10_001),
            ("queue.timeoutMs", |c| c.queue.timeout_ms = 9),
        ] {
            let path = path_of(|p| p.backends[0].concurrency.iter_mut().for_each(change));
            assert_eq!(path, format!("backends[0].concurrency.{at}"));
        }
        assert_eq!(path_of(|p| p.routing.retry_budget_percent = 101), "routing.retryBudgetPercent");
        let elsewhere = |p: &mut Policy| {
            let mut other = Backend { name: "other".into(), ..p.backends[0].clone() };
            other.models[0].tier = Some(Tier::Fast);
            p.backends.push(other);
        };
        assert_eq!(path_of(elsewhere), "backends[1].models[0].tier");
        let automatic = Automatic { model: "auto".into(), fast_below_percent: 30, quality_above_percent: 70 };
        assert_eq!(path_of(|p| p.routing.automatic = Some(automatic.clone())), "routing.automatic");
        assert_eq!(path_of(|p| p.stream_heartbeat_ms = Some(999)), "streamHeartbeatMs");
        assert_eq!(path_of(|p| p.routing.hedge_after_ms = Some(9)), "routing.hedgeAfterMs");
        assert_eq!(path_of(|p| p.routing.max_resting_percent = 101), "routing.maxRestingPercent");
        assert_eq!(path_of(|p| p.synthesis.voices.clear()), "synthesis.voices");
        assert_eq!(
            path_of(|p| p.synthesis.default_voices.push("nobody".into())),
            "synthesis.defaultVoices[3]"
        );
        assert_eq!(
            path_of(|p| p.synthesis.default_voices.push(p.synthesis.default_voices[0].clone())),
            "synthesis.defaultVoices[3]"
        );
        assert_eq!(path_of(|p| p.synthesis.max_tokens_per_voice = 0), "synthesis.maxTokensPerVoice");
        assert_eq!(
            path_of(|p| p.synthesis.voices[2].temperature_percent = 201),
            "synthesis.voices[2].temperaturePercent"
        );
    }

    #[test]
    fn several_backends_may_serve_one_model_and_each_names_it_once() {
        let mut policy = sample_policy();
        let mut second = policy.backends[0].clone();
        second.name = "second".into();
        policy.backends.push(second);
        assert_eq!(policy.validate(), Ok(()));
        let again = |p: &mut Policy| {
            let model = p.backends[0].models[0].clone();
            p.backends[0].models.push(model);
        };
        assert_eq!(path_of(again), "backends[0].models[1]");
    }

    #[test]
    fn what_is_new_and_as_it_is_by_default_leaves_no_trace_in_a_policy() {
        let text = serde_json::to_string(&sample_policy()).unwrap();
        for field in ["priority", "weight", "circuitBreaker", "routing"] {
            assert!(!text.contains(field), "{field}");
        }
        assert_eq!(serde_json::from_str::<Policy>(&text).unwrap(), sample_policy());
    }

    #[test]
    fn urls_of_other_schemes_or_with_credentials_are_refused() {
        for url in [
            "ftp://x",
            "http://",
            "http:///x",
            "http://a b",
            "http://user@host",
            "http://h?q=1",
            "file:///etc",
            "https://b\u{fc}cher.example/v1",
            "http://[fd00::1/v1",
            "http://fd00::1/v1",
            "http://a\\b",
            "http://a:1:2",
            "http://a:",
            "http://a:0",
            "http://a:99999",
            "http://a/b c",
        ] {
            let remote = BackendKind::Remote(Remote {
                url: url.into(),
                has_credential: false,
                protocol: Protocol::OpenAi,
            });
            assert_eq!(path_of(|p| p.backends[0].kind = remote), "backends[0].kind.remote.url", "{url}");
        }
    }

    #[test]
    fn usual_urls_are_accepted() {
        for url in [
            "http://localhost",
            "https://api.example.com/v1",
            "http://vllm_1.models.svc:8000/v1/",
            "http://[fd00::1]:8000/v1",
            "http://10.0.0.1/openai/deployments/a%20b",
        ] {
            let mut policy = sample_policy();
            policy.backends[0].kind = BackendKind::Remote(Remote {
                url: url.into(),
                has_credential: false,
                protocol: Protocol::OpenAi,
            });
            assert_eq!(policy.validate(), Ok(()), "{url}");
        }
    }

    #[test]
    fn a_model_file_needs_an_absolute_path_and_a_whole_hash() {
        let file = |path: &str, sha256: &str| {
            BackendKind::Embedded(Embedded { path: path.into(), sha256: sha256.into() })
        };
        let hash = "0".repeat(64);
        assert_eq!(path_of(|p| p.backends[0].kind = file("m.gguf", &hash)), "backends[0].kind.embedded.path");
        assert_eq!(
            path_of(|p| p.backends[0].kind = file("/m.gguf", "00")),
            "backends[0].kind.embedded.sha256"
        );
    }
}
