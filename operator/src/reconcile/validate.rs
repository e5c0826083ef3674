//! Step two: whether the resource makes sense together with what it refers to.

use super::child::Child;
use super::observe::{MissingCredential, Observed};
use codecrucible_contract::{
    self as contract, BackendKind, Bundle, BundleError, Policy, Revision, layout, voices,
};
use codecrucible_crds::{
    BackendType, CodeCrucible, Duration, LogLevel, ModelBackend, SynthesisMode, Timeouts, conditions, names,
};
use kube::ResourceExt as _;

/// Where the volumes of embedded models are mounted.
pub(crate) const MODELS_FOLDER: &str = "/models";
/// Port of the public API.
pub(crate) const PUBLIC_PORT: u16 = 8080;

/// A resource whose policy compiles.
#[derive(Debug)]
pub(crate) struct Validated {
    /// The compiled policy with its revision.
    pub(crate) bundle: Bundle,
    /// Claims that hold models, by the backend that uses them.
    pub(crate) model_claims: Vec<(String, String)>,
    /// Where clients inside the cluster reach the service.
    pub(crate) endpoint: String,
}

/// What is wrong, and which kind of wrong it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    /// `Invalid` or `ReferenceNotFound`.
    pub(crate) reason: &'static str,
    /// Begins with the field's path.
    pub(crate) message: String,
}

fn invalid(message: String) -> Invalid {
    Invalid { reason: conditions::REASON_INVALID, message }
}

fn not_found(message: String) -> Invalid {
    Invalid { reason: conditions::REASON_REFERENCE_NOT_FOUND, message }
}

/// Checks everything; the first thing that is wrong is reported.
pub(crate) fn validate(resource: &CodeCrucible, observed: &Observed) -> Result<Validated, Invalid> {
    let endpoint = endpoint(resource);
    let mut backends = Vec::new();
    let mut model_claims = Vec::new();
    for (index, name) in resource.spec.backends.iter().enumerate() {
        let path = format!("spec.backends[{index}]");
        let found = observed.backends.get(name);
        let backend = found.ok_or_else(|| {
            not_found(format!("{path}: there is no ModelBackend {name:?} in this namespace"))
        })?;
        check_credential(&path, name, backend, observed)?;
        if let Some(embedded) = &backend.spec.embedded {
            model_claims.push((name.clone(), embedded.persistent_volume_claim.clone()));
        }
        backends.push(compile_backend(&path, name, backend)?);
    }
    let policy = Policy {
        identity: contract::Identity {
            issuer: endpoint.clone(),
            audience: format!("{}.{}", resource.name_any(), resource.namespace().unwrap_or_default()),
            access_token_seconds: seconds(
                "spec.auth.accessTokenLifetime",
                &resource.spec.auth.access_token_lifetime,
            )?,
        },
        observability: contract::Observability {
            log_level: log_level(resource.spec.observability.log_level),
        },
        backends,
        synthesis: compile_synthesis(resource)?,
    };
    let previous = published(resource, observed);
    let bundle =
        Bundle::compile(policy, previous.as_ref()).map_err(|error| invalid(explain(&error, resource)))?;
    Ok(Validated { bundle, model_claims, endpoint })
}

/// The revision that was published last. When the ConfigMap is gone, the status still knows it, so that
/// counters never go back.
fn published(resource: &CodeCrucible, observed: &Observed) -> Option<Revision> {
    let in_config_map = observed
        .data(Child::Policy, layout::BUNDLE_FILE)
        .and_then(|json| Bundle::parse(json.as_bytes()).ok())
        .map(|bundle| bundle.revision().clone());
    let in_status =
        resource.status.as_ref().and_then(|status| status.policy.as_ref()?.published.parse().ok());
    match (in_config_map, in_status) {
        (Some(map), Some(status)) => Some(newer(map, status)),
        (one, other) => one.or(other),
    }
}

fn newer(one: Revision, other: Revision) -> Revision {
    if other.counter > one.counter { other } else { one }
}

/// Where clients inside the cluster reach the service.
fn endpoint(resource: &CodeCrucible) -> String {
    let namespace = resource.namespace().unwrap_or_default();
    format!("http://{}.{namespace}.svc:{PUBLIC_PORT}", names::workload(&resource.name_any()))
}

fn check_credential(
    path: &str,
    name: &str,
    backend: &ModelBackend,
    observed: &Observed,
) -> Result<(), Invalid> {
    let Some(reference) = &backend.spec.credentials_secret_ref else {
        return Ok(());
    };
    let at = format!("{path}: ModelBackend {name:?} spec.credentialsSecretRef");
    match observed.credentials.get(name) {
        Some(Ok(_)) => Ok(()),
        Some(Err(MissingCredential::Key)) => Err(not_found(format!(
            "{at}.key: the Secret {:?} has no key {:?}",
            reference.name, reference.key
        ))),
        Some(Err(MissingCredential::NotText)) => {
            Err(invalid(format!("{at}.key: the value is empty or not one line of text")))
        }
        Some(Err(MissingCredential::Secret)) | None => {
            Err(not_found(format!("{at}.name: there is no Secret {:?} in this namespace", reference.name)))
        }
    }
}

fn compile_backend(path: &str, name: &str, backend: &ModelBackend) -> Result<contract::Backend, Invalid> {
    let at = format!("{path}: ModelBackend {name:?} spec");
    let spec = &backend.spec;
    let kind = match (spec.type_, &spec.url, &spec.embedded) {
        (BackendType::OpenAI, Some(url), _) => BackendKind::Remote(contract::Remote {
            url: url.clone(),
            has_credential: spec.credentials_secret_ref.is_some(),
        }),
        (BackendType::Embedded, _, Some(embedded)) => BackendKind::Embedded(contract::Embedded {
            path: format!("{MODELS_FOLDER}/{name}/{}", embedded.path),
            sha256: embedded.sha256.clone(),
        }),
        (BackendType::OpenAI, None, _) => {
            return Err(invalid(format!("{at}.url: is required for type OpenAI")));
        }
        (BackendType::Embedded, _, None) => {
            return Err(invalid(format!("{at}.embedded: is required for type Embedded")));
        }
    };
    let models = spec
        .models
        .iter()
        .map(|model| contract::Model { name: model.name.clone(), alias: model.alias.clone() });
    Ok(contract::Backend {
        name: name.to_owned(),
        kind,
        models: models.collect(),
        timeouts: timeouts(&at, &spec.timeouts)?,
    })
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

fn milliseconds(path: &str, duration: &Duration) -> Result<u64, Invalid> {
    let length =
        duration.get().map_err(|_| invalid(format!("{path}: {:?} is not a duration", duration.as_str())))?;
    u64::try_from(length.as_millis())
        .map_err(|_| invalid(format!("{path}: {:?} is too long", duration.as_str())))
}

fn seconds(path: &str, duration: &Duration) -> Result<u32, Invalid> {
    u32::try_from(milliseconds(path, duration)? / 1_000).map_err(|_| invalid(format!("{path}: is too long")))
}

fn compile_synthesis(resource: &CodeCrucible) -> Result<contract::Synthesis, Invalid> {
    let synthesis = &resource.spec.synthesis;
    let mut compiled = voices::built_in();
    for (index, voice) in synthesis.voices.iter().enumerate() {
        let path = format!("spec.synthesis.voices[{index}]");
        let temperature_percent = u16::try_from(voice.temperature_percent).map_err(|_| {
            invalid(format!("{path}.temperaturePercent: {} is negative", voice.temperature_percent))
        })?;
        if synthesis.voices[..index].iter().any(|earlier| earlier.name == voice.name) {
            return Err(invalid(format!("{path}.name: {:?} occurs twice", voice.name)));
        }
        let voice =
            contract::Voice { name: voice.name.clone(), temperature_percent, prompt: voice.prompt.clone() };
        match compiled.iter_mut().find(|built_in| built_in.name == voice.name) {
            Some(built_in) => *built_in = voice,
            None => compiled.push(voice),
        }
    }
    let max_tokens_per_voice = u32::try_from(synthesis.max_tokens_per_voice)
        .map_err(|_| invalid("spec.synthesis.maxTokensPerVoice: is negative".into()))?;
    Ok(contract::Synthesis {
        voices: compiled,
        default_voices: synthesis.default_voices.clone(),
        default_mode: match synthesis.default_mode {
            SynthesisMode::Competitive => contract::Mode::Competitive,
        },
        max_tokens_per_voice,
    })
}

fn log_level(level: LogLevel) -> contract::LogLevel {
    match level {
        LogLevel::Error => contract::LogLevel::Error,
        LogLevel::Warn => contract::LogLevel::Warn,
        LogLevel::Info => contract::LogLevel::Info,
        LogLevel::Debug => contract::LogLevel::Debug,
        LogLevel::Trace => contract::LogLevel::Trace,
    }
}

/// Says where in the resource, or its backends, the compiled policy's problem comes from.
fn explain(error: &BundleError, resource: &CodeCrucible) -> String {
    let BundleError::Invalid(contract::Invalid { path, problem }) = error else {
        return error.to_string();
    };
    let in_backend = path.strip_prefix("backends[").and_then(|rest| rest.split_once(']'));
    if let Some((index, field)) = in_backend {
        let name = index.parse::<usize>().ok().and_then(|index| resource.spec.backends.get(index));
        let field =
            field.replace(".kind.remote", "").replace(".kind.embedded", ".embedded").replace("Ms", "");
        return format!(
            "spec.backends[{index}]: ModelBackend {:?} spec{field}: {problem}",
            name.map_or("", String::as_str)
        );
    }
    let field = match path.as_str() {
        "identity.accessTokenSeconds" => "auth.accessTokenLifetime",
        other => other,
    };
    format!("spec.{field}: {problem}")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    pub(crate) fn resource(spec: Value) -> CodeCrucible {
        let mut whole = json!({"image": {"repository": "workload", "tag": "1"}, "backends": ["remote"]});
        if let (Some(whole), Value::Object(spec)) = (whole.as_object_mut(), spec) {
            whole.extend(spec);
        }
        let mut resource = CodeCrucible::new("demo", serde_json::from_value(whole).unwrap());
        resource.metadata.namespace = Some("team".into());
        resource.metadata.uid = Some("1-2-3".into());
        resource.metadata.generation = Some(1);
        resource
    }

    pub(crate) fn backend(name: &str, spec: Value) -> ModelBackend {
        ModelBackend::new(name, serde_json::from_value(spec).unwrap())
    }

    pub(crate) fn observed() -> Observed {
        let remote = backend(
            "remote",
            json!({"type": "OpenAI", "url": "http://vllm:8000/v1", "models": [{"name": "m"}]}),
        );
        Observed {
            backends: BTreeMap::from([("remote".to_owned(), remote)]),
            credentials: BTreeMap::new(),
            children: BTreeMap::new(),
            pods: Vec::new(),
        }
    }

    fn refusal(resource: &CodeCrucible, observed: &Observed) -> (&'static str, String) {
        let invalid = validate(resource, observed).unwrap_err();
        (invalid.reason, invalid.message)
    }

    #[test]
    fn an_unknown_backend_is_named_with_its_path() {
        let (reason, message) = refusal(&resource(json!({"backends": ["remote", "ghost"]})), &observed());
        assert_eq!(reason, "ReferenceNotFound");
        assert_eq!(message, "spec.backends[1]: there is no ModelBackend \"ghost\" in this namespace");
    }

    #[test]
    fn a_backend_without_its_secret_is_told_from_one_without_its_key() {
        let mut observed = observed();
        let spec = json!({"type": "OpenAI", "url": "http://x", "models": [{"name": "m"}],
            "credentialsSecretRef": {"name": "s", "key": "k"}});
        observed.backends.insert("remote".into(), backend("remote", spec));
        observed.credentials.insert("remote".into(), Err(MissingCredential::Secret));
        assert!(
            refusal(&resource(json!({})), &observed)
                .1
                .ends_with("there is no Secret \"s\" in this namespace")
        );
        observed.credentials.insert("remote".into(), Err(MissingCredential::Key));
        assert!(refusal(&resource(json!({})), &observed).1.ends_with("the Secret \"s\" has no key \"k\""));
        observed.credentials.insert("remote".into(), Ok("token".into()));
        assert!(validate(&resource(json!({})), &observed).is_ok());
    }

    #[test]
    fn problems_of_the_policy_are_shown_at_the_resources_own_path() {
        let unknown_voice = resource(json!({"synthesis": {"defaultVoices": ["nobody"]}}));
        let (reason, message) = refusal(&unknown_voice, &observed());
        assert_eq!(
            (reason, message.as_str()),
            ("Invalid", "spec.synthesis.defaultVoices[0]: there is no voice \"nobody\"")
        );

        let too_short = resource(json!({"auth": {"accessTokenLifetime": "1s"}}));
        assert!(refusal(&too_short, &observed()).1.starts_with("spec.auth.accessTokenLifetime: "));

        let mut observed = observed();
        let spec = json!({"type": "OpenAI", "url": "http://x", "models": [{"name": "m"}], "timeouts": {"idle": "2h"}});
        observed.backends.insert("remote".into(), backend("remote", spec));
        let message = refusal(&resource(json!({})), &observed).1;
        assert!(
            message.starts_with("spec.backends[0]: ModelBackend \"remote\" spec.timeouts.idle: "),
            "{message}"
        );
    }

    #[test]
    fn a_voice_of_a_built_in_name_replaces_it() {
        let voice = json!({"name": "security", "temperaturePercent": 1, "prompt": "p"});
        let validated = validate(&resource(json!({"synthesis": {"voices": [voice]}})), &observed()).unwrap();
        let voices = &validated.bundle.policy().synthesis.voices;
        assert_eq!(voices.len(), 9);
        assert!(voices.iter().any(|voice| voice.name == "security" && voice.prompt == "p"));
    }

    #[test]
    fn an_embedded_model_lies_below_its_backends_mount() {
        let mut observed = observed();
        let embedded =
            json!({"persistentVolumeClaim": "models", "path": "a/m.gguf", "sha256": "0".repeat(64)});
        let spec = json!({"type": "Embedded", "embedded": embedded, "models": [{"name": "m"}]});
        observed.backends.insert("local".into(), backend("local", spec));
        let validated = validate(&resource(json!({"backends": ["local"]})), &observed).unwrap();
        let BackendKind::Embedded(embedded) = &validated.bundle.policy().backends[0].kind else {
            panic!("not embedded")
        };
        assert_eq!(embedded.path, "/models/local/a/m.gguf");
        assert_eq!(validated.model_claims, [("local".to_owned(), "models".to_owned())]);
    }
}
