//! Step two: whether the resource makes sense together with what it refers to.

mod access;
mod cache;
mod canary;
mod clients;
mod compile;
mod in_force;
mod ingress;
mod limits;
mod routing;
mod store;
mod tls;

pub(crate) use access::{has_wrong_access, selected};
pub(crate) use clients::{registered, withdrawn};

use super::child::Child;
use super::document;
use super::history::newest_policy;
use super::observe::{MAX_CREDENTIAL_BYTES, MissingCredential, Observed};
use super::remediation::Limits;
use super::rollout::CanaryRules;
use super::tls::Encryption;
use crate::agreement::endpoint;
use clients::admitted;
use codecrucible_contract::{Bundle, Clients, Policy, Revision};
use codecrucible_crds::{CodeCrucible, Remediation, SecretKeyReference, conditions};
use in_force::InForce;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Shortest time after which a rollout or a replica may be taken for failed, seconds.
const MIN_DEADLINE_SECONDS: u32 = 10;
/// The longest one.
const MAX_DEADLINE_SECONDS: u32 = 86_400;

/// A resource whose policy compiles. Without `Debug`: it holds secrets.
pub(crate) struct Validated {
    /// The compiled policy with its revision.
    pub(crate) bundle: Bundle,
    /// The policy that is only to be compared with it.
    pub(crate) shadow: Option<Bundle>,
    /// The revision that was handed out last, or kept as the newest.
    pub(crate) published: Option<Revision>,
    /// Claims that hold models, by the backend that uses them.
    pub(crate) model_claims: Vec<(String, String)>,
    /// The credentials of the backends that need one, and the store's, by the names of their files.
    pub(crate) credentials: BTreeMap<String, String>,
    /// The clients of applications that are let in.
    pub(crate) clients: Clients,
    /// How their connections are encrypted.
    pub(crate) encryption: Encryption,
    /// What is not as the resource wants it, although it is valid.
    pub(crate) notes: Vec<String>,
    /// When replicas that go wrong are replaced.
    pub(crate) remediation: Limits,
    /// How long a rollout may be without progress.
    pub(crate) progress_deadline: Duration,
    /// How new pods are tried out, if they are.
    pub(crate) canary: Option<CanaryRules>,
    /// Where the operator runs.
    pub(crate) operator_namespace: String,
    /// What is wanted and not served by the cluster.
    pub(crate) unserved: BTreeSet<Child>,
}

/// What is wrong, and which kind of wrong it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    /// `Invalid`, `ReferenceNotFound`, `ApiNotServed` or `NotOwned`.
    pub(crate) reason: &'static str,
    /// Begins with the field's path.
    pub(crate) message: String,
}

impl Invalid {
    fn value(message: String) -> Self {
        Self { reason: conditions::REASON_INVALID, message }
    }

    fn not_found(message: String) -> Self {
        Self { reason: conditions::REASON_REFERENCE_NOT_FOUND, message }
    }

    fn not_served(message: String) -> Self {
        Self { reason: conditions::REASON_API_NOT_SERVED, message }
    }

    fn not_owned(message: String) -> Self {
        Self { reason: conditions::REASON_NOT_OWNED, message }
    }
}

/// Checks everything; the first thing that is wrong is reported.
pub(crate) fn validate(resource: &CodeCrucible, observed: &Observed) -> Result<Validated, Invalid> {
    check_names(resource, observed)?;
    check_requests(resource)?;
    ingress::check(resource)?;
    let mut backends = Vec::new();
    let mut model_claims = Vec::new();
    let mut credentials = BTreeMap::new();
    for (index, name) in resource.spec.backends.iter().enumerate() {
        let path = format!("spec.backends[{index}]");
        let backend = observed.backends.get(name).ok_or_else(|| {
            Invalid::not_found(format!("{path}: there is no ModelBackend {name:?} in this namespace"))
        })?;
        if let Some(reference) = &backend.spec.credentials_secret_ref {
            let at = format!("{path}: ModelBackend {name:?} spec.credentialsSecretRef");
            let found = credential(&at, reference, observed.credentials.get(name))?;
            credentials.insert(name.clone(), found);
        }
        if let Some(embedded) = &backend.spec.embedded {
            model_claims.push((name.clone(), embedded.persistent_volume_claim.clone()));
        }
        backends.push(compile::backend(&path, name, backend)?);
    }
    credentials.extend(store::passwords(resource, observed)?);
    let encryption = tls::encryption(resource, observed)?;
    let issuer = endpoint(resource, encryption != Encryption::Disabled);
    let (access, mut notes) = access::access(resource, observed)?;
    notes.extend(tls::notes(resource, observed, &encryption));
    notes.extend(canary::note(resource, observed));
    let policy = Policy {
        identity: compile::identity(resource, &issuer)?,
        observability: compile::observability(resource)?,
        routing: routing::routing(resource)?,
        limits: limits::limits(resource)?,
        cache: cache::cache(resource)?,
        store: resource.spec.redis.as_ref().map(store::store),
        redaction: compile::redaction(resource),
        stream_heartbeat_ms: compile::stream_heartbeat(resource)?,
        trusted_proxy_hops: compile::trusted_proxy_hops(resource)?,
        allowed_origins: resource.spec.network.allowed_origins.clone(),
        backends,
        synthesis: compile::synthesis(resource)?,
        access,
    };
    let published = published(resource, observed);
    let newest = Bundle::compile(policy, published.as_ref())
        .map_err(|error| Invalid::value(compile::explain(&error, resource)))?;
    let InForce { bundle, shadow } = in_force::choose(resource, observed, newest)?;
    let progress_deadline = progress_deadline(resource)?;
    let clients = admitted(resource, observed);
    let operator_namespace = observed.operator_namespace.clone();
    Ok(Validated {
        bundle,
        shadow,
        published,
        model_claims,
        credentials,
        clients,
        encryption,
        notes,
        remediation: remediation(resource)?,
        progress_deadline,
        canary: canary::rules(resource)?,
        operator_namespace,
        unserved: observed.unserved.clone(),
    })
}

/// An autoscaler measures replicas by what they request.
fn check_requests(resource: &CodeCrucible) -> Result<(), Invalid> {
    let Some(autoscaling) = &resource.spec.autoscaling else { return Ok(()) };
    let requests = resource.spec.resources.requests.as_ref();
    let limits = resource.spec.resources.limits.as_ref();
    for (name, percent, field) in [
        ("cpu", autoscaling.target_cpu_percent, "targetCpuPercent"),
        ("memory", autoscaling.target_memory_percent, "targetMemoryPercent"),
    ] {
        // Where nothing is requested, the limit counts.
        let is_there =
            [requests, limits].into_iter().flatten().any(|quantities| quantities.contains_key(name));
        if percent > 0 && !is_there {
            return Err(Invalid::value(format!(
                "spec.resources.requests.{name}: is required, because spec.autoscaling.{field} is a part of it"
            )));
        }
    }
    Ok(())
}

fn progress_deadline(resource: &CodeCrucible) -> Result<Duration, Invalid> {
    deadline("spec.rollout.progressDeadline", &resource.spec.rollout.progress_deadline)
}

fn remediation(resource: &CodeCrucible) -> Result<Limits, Invalid> {
    let Remediation { after, max_per_hour } = &resource.spec.remediation;
    let after = deadline("spec.remediation.after", after)?;
    Ok(Limits { after, max_per_hour: usize::try_from(*max_per_hour).unwrap_or(0) })
}

fn deadline(path: &str, written: &codecrucible_crds::Duration) -> Result<Duration, Invalid> {
    let deadline = compile::seconds(path, written)?;
    if !(MIN_DEADLINE_SECONDS..=MAX_DEADLINE_SECONDS).contains(&deadline) {
        return Err(Invalid::value(format!("{path}: must be 10s to 1d")));
    }
    Ok(Duration::from_secs(deadline.into()))
}

/// A service is whole or not at all: while one of its names is taken, nothing is written, so that no pod
/// ever mounts what somebody else put there.
fn check_names(resource: &CodeCrucible, observed: &Observed) -> Result<(), Invalid> {
    let named = |child: &Child| format!("{} {:?}", child.kind(), child.name(resource));
    // Without the canary's, everything but new pods goes on.
    let is_needed = |child: &&Child| child.is_wanted(resource) && **child != Child::Canary;
    let taken = observed.foreign.iter().filter(is_needed);
    let taken: Vec<_> = taken.map(named).collect();
    if taken.is_empty() {
        return Ok(());
    }
    Err(Invalid::not_owned(format!(
        "metadata.name: this resource needs names that objects of somebody else have: {}; delete or rename them, \
         or give this resource another name",
        taken.join(", ")
    )))
}

/// The revision that was published last. When the ConfigMap is gone, the status still knows it, so that
/// counters never go back.
fn published(resource: &CodeCrucible, observed: &Observed) -> Option<Revision> {
    let in_config_map = handed_out(observed).map(|bundle| bundle.revision().clone());
    let compared = compared(observed).map(|bundle| bundle.revision().clone());
    // While the service is held at an older one, only what is kept tells which was the newest.
    let in_history = newest_policy(&observed.history);
    let reported = resource.status.as_ref().and_then(|status| status.policy.as_ref());
    let in_status = reported.and_then(|policy| policy.revision.parse().ok());
    let in_shadow = reported.and_then(|policy| policy.shadow.as_ref()?.revision.parse().ok());
    // Of several with one counter the last one counts, which is that of the ConfigMap.
    [in_status, in_shadow, in_history, in_config_map, compared]
        .into_iter()
        .flatten()
        .max_by_key(|revision| revision.counter)
}

/// The policy that replicas read.
fn handed_out(observed: &Observed) -> Option<Bundle> {
    document::from_config_map(&observed.children.get(&Child::Policy)?.data)
}

/// The policy that replicas only compare.
fn compared(observed: &Observed) -> Option<Bundle> {
    document::shadow_from_config_map(&observed.children.get(&Child::Policy)?.data)
}

/// The credential that a reference leads to.
fn credential(
    at: &str,
    reference: &SecretKeyReference,
    found: Option<&Result<String, MissingCredential>>,
) -> Result<String, Invalid> {
    match found {
        Some(Ok(credential)) => Ok(credential.clone()),
        Some(Err(MissingCredential::Key)) => Err(Invalid::not_found(format!(
            "{at}.key: the Secret {:?} has no key {:?}",
            reference.name, reference.key
        ))),
        Some(Err(MissingCredential::NotText)) => {
            Err(Invalid::value(format!("{at}.key: the value is empty or not one line of text")))
        }
        Some(Err(MissingCredential::TooLong)) => {
            Err(Invalid::value(format!("{at}.key: the value has more than {MAX_CREDENTIAL_BYTES} bytes")))
        }
        Some(Err(MissingCredential::Secret)) | None => Err(Invalid::not_found(format!(
            "{at}.name: there is no Secret {:?} in this namespace",
            reference.name
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures::{backend, observed, resource};
    use codecrucible_contract::{self as contract, BackendKind};
    use serde_json::{Value, json};
    use std::collections::BTreeSet;

    fn refusal(resource: &CodeCrucible, observed: &Observed) -> (&'static str, String) {
        let Err(invalid) = validate(resource, observed) else { panic!("it is valid") };
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
    fn how_a_backend_is_preferred_and_left_alone_reaches_the_policy() {
        let mut observed = observed();
        let mut with = |breaker: Value| {
            let spec = json!({"type": "OpenAI", "url": "http://x", "models": [{"name": "m"}], "priority": 2,
                "weight": 0, "circuitBreaker": breaker});
            observed.backends.insert("remote".into(), backend("remote", spec));
            validate(&resource(json!({"routing": {"retryBudgetPercent": 5}})), &observed)
        };
        let validated = with(json!({"errorRatePercent": 50, "openFor": "2s"})).unwrap();
        let policy = validated.bundle.policy();
        let contract::Backend { priority, weight, circuit_breaker, .. } = &policy.backends[0];
        assert_eq!((*priority, *weight, policy.routing.retry_budget_percent), (2, 0, 5));
        let contract::CircuitBreaker { error_rate_percent, minimum_requests, open_for_ms } = circuit_breaker;
        assert_eq!((*error_rate_percent, *minimum_requests, *open_for_ms), (50, 20, 2_000));
        let Err(invalid) = with(json!({"openFor": "50ms"})) else { panic!("it is valid") };
        assert_eq!(
            invalid.message,
            "spec.backends[0]: ModelBackend \"remote\" spec.circuitBreaker.openFor: 50 is outside 100 to 3600000 milliseconds"
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

    #[test]
    fn an_autoscaler_needs_what_it_measures_by() {
        let with = |resources: Value| resource(json!({"autoscaling": {}, "resources": resources}));
        let (_, message) = refusal(&with(json!({"requests": {"memory": "1Gi"}})), &observed());
        assert!(message.starts_with("spec.resources.requests.cpu: is required"), "{message}");
        assert!(validate(&with(json!({"limits": {"memory": "1Gi", "cpu": "1"}})), &observed()).is_ok());
    }

    #[test]
    fn a_name_that_is_taken_is_told_before_anything_else() {
        let mut observed = observed();
        observed.foreign = BTreeSet::from([Child::SigningKeys, Child::Service]);
        let (reason, message) = refusal(&resource(json!({"backends": ["ghost"]})), &observed);
        assert_eq!(reason, "NotOwned");
        assert!(
            message.contains("Secret \"demo-signing-keys\", Service \"demo\"; delete or rename"),
            "{message}"
        );
    }

    #[test]
    fn a_wrong_voice_is_shown_where_the_resource_has_it() {
        // The schema counts characters, the policy bytes.
        let voice = json!({"name": "poet", "temperaturePercent": 1, "prompt": "é".repeat(10_000)});
        let built_in = json!({"name": "security", "temperaturePercent": 1, "prompt": "p"});
        let resource = resource(json!({"synthesis": {"voices": [built_in, voice]}}));
        let message = refusal(&resource, &observed()).1;
        assert!(message.starts_with("spec.synthesis.voices[1].prompt: has 20000 bytes"), "{message}");
    }

    #[test]
    fn what_the_schema_allows_at_most_fits_the_policy() {
        let voices: Vec<Value> = (0..32)
            .map(|index| json!({"name": format!("v{index}"), "temperaturePercent": 200, "prompt": "x".repeat(16_384)}))
            .collect();
        let resource = resource(json!({
            "auth": {"accessTokenLifetime": "1d"},
            "synthesis": {"voices": voices, "maxTokensPerVoice": 32_768,
                "defaultVoices": ["v0", "v1", "v2", "v3", "v4"]},
        }));
        let mut observed = observed();
        let models: Vec<Value> = (0..256)
            .map(|index| json!({"name": format!("{index:0>253}"), "alias": format!("a{index:0>252}")}))
            .collect();
        let timeouts = json!({"connect": "1h", "firstByte": "1h", "idle": "1h", "total": "1h"});
        let spec = json!({"type": "OpenAI", "url": format!("http://{}", "x".repeat(2_041)), "models": models, "timeouts": timeouts,
            "priority": 100, "weight": 100,
            "circuitBreaker": {"errorRatePercent": 100, "minimumRequests": 10_000, "openFor": "1h"}});
        observed.backends.insert("remote".into(), backend("remote", spec));
        if let Err(invalid) = validate(&resource, &observed) {
            panic!("{}", invalid.message);
        }
    }
}
