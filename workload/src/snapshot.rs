//! Everything that a request needs, built once for each change of the configuration and swapped as a whole.

use crate::authorization::Authorizer;
use crate::backend::{Backend, Engines, Readiness, SetupError};
use crate::cache::CacheRules;
use crate::configuration::Configuration;
use crate::identity::{KeyError, SigningKeys, TokenAuthority};
use crate::limits::Limits;
use crate::redaction::{AnswerRedaction, Redaction, redactions};
use crate::routing::{Routes, Talent, Target};
use crate::shadow::Shadow;
use crate::store::StoreSettings;
use codecrucible_contract::{
    Automatic, Backend as BackendPolicy, Bundle, Model, Policy, SharedAnswers, layout,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One configuration, ready to serve.
pub struct Snapshot {
    /// The bundle that it was built from.
    pub bundle: Bundle,
    /// Issues and verifies tokens.
    pub tokens: TokenAuthority,
    /// Who may do what.
    pub authorizer: Authorizer,
    /// Where models' names lead.
    pub routes: Routes,
    /// What takes secrets out of requests, if anything does.
    pub redaction: Option<Redaction>,
    /// Takes secrets out of answers.
    pub answer_redaction: Option<Arc<AnswerRedaction>>,
    /// How much clients may ask for.
    pub limits: Limits,
    /// Where replicas count together, if anywhere.
    pub store: Option<StoreSettings>,
    /// Which answers are given again, if any are.
    pub cache_rules: Option<CacheRules>,
    /// Where replicas find what others were answered, if anywhere.
    pub shared_answers: Option<StoreSettings>,
    /// The policy that is only compared with this one, or why it cannot be.
    pub shadow: Option<Result<Shadow, String>>,
    backends: Vec<BuiltBackend>,
    /// Hash of everything that was read, to tell whether a new reading differs.
    fingerprint: [u8; 32],
}

struct BuiltBackend {
    policy: BackendPolicy,
    credential: Option<String>,
    backend: Arc<Backend>,
}

/// Why a configuration that was read cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A key is unusable.
    #[error("signing keys: {0}")]
    Keys(#[from] KeyError),
    /// A backend cannot be set up.
    #[error("backend {name}: {error}")]
    Backend {
        /// Its name.
        name: String,
        /// What is wrong.
        error: SetupError,
    },
}

impl Snapshot {
    /// Builds a snapshot. Backends that did not change keep their connections.
    pub fn build(
        configuration: Configuration,
        previous: Option<&Self>,
        engines: &Engines,
    ) -> Result<Self, BuildError> {
        let fingerprint = configuration.fingerprint();
        let Configuration { bundle, shadow, signing_keys, backend_credentials, store_passwords } =
            configuration;
        let keys = SigningKeys::from_pem_files(&signing_keys)?;
        let mut backends = Vec::new();
        for policy in &bundle.policy().backends {
            let credential = backend_credentials.get(&policy.name).cloned();
            backends.push(built(policy, credential, previous, engines)?);
        }
        let (redaction, answer_redaction) = redactions(bundle.policy().redaction.as_ref());
        let limits = Limits::new(&bundle.policy().identity.issuer, &bundle.policy().limits);
        Ok(Self {
            tokens: TokenAuthority::new(keys, &bundle.policy().identity),
            authorizer: Authorizer::new(bundle.policy().access.as_ref()),
            store: store_settings(bundle.policy(), &store_passwords, &limits),
            shared_answers: shared_answers(bundle.policy(), &store_passwords),
            cache_rules: bundle.policy().cache.as_ref().map(CacheRules::new),
            limits,
            redaction,
            answer_redaction: answer_redaction.map(Arc::new),
            routes: routes(&backends, bundle.policy().routing.automatic.clone()),
            bundle,
            shadow: shadow.map(|shadow| shadow.map(Shadow::new)),
            backends,
            fingerprint,
        })
    }

    /// Whether a new reading differs, or a backend that failed deserves another try.
    pub fn is_outdated(&self, configuration: &Configuration) -> bool {
        let failed = |built: &BuiltBackend| matches!(built.backend.readiness(), Readiness::Failed(_));
        self.fingerprint != configuration.fingerprint() || self.backends.iter().any(failed)
    }

    /// Blocks until every model is loaded or has failed to.
    pub fn wait_for_models(&self) {
        self.backends.iter().for_each(|built| built.backend.wait());
    }

    /// Whether putting this snapshot in the place of another one would bring nothing but another try of
    /// models that failed again.
    pub fn is_no_better_than(&self, current: &Self) -> bool {
        let failed = |snapshot: &Self| {
            snapshot
                .backends
                .iter()
                .filter(|built| matches!(built.backend.readiness(), Readiness::Failed(_)))
                .count()
        };
        self.fingerprint == current.fingerprint && failed(self) >= failed(current)
    }

    /// A backend that answers in the current snapshot and would not in this one, and why.
    pub fn loss_against(&self, current: &Self) -> Option<String> {
        let works = |name: &str| {
            let built = current.backends.iter().find(|built| built.backend.name() == name);
            built.is_some_and(|built| built.backend.readiness() == Readiness::Ready)
        };
        self.backends.iter().find_map(|built| match built.backend.readiness() {
            Readiness::Failed(reason) if works(built.backend.name()) => {
                Some(format!("backend {}: {reason}", built.backend.name()))
            }
            _ => None,
        })
    }

    /// From now on backends have as many requests at once as this says: when it is put in force.
    pub fn apply_concurrency(&self) {
        for BuiltBackend { policy, backend, .. } in &self.backends {
            backend.health().room().follow(policy.concurrency);
        }
    }

    /// All backends, in the policy's order.
    pub fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.backends.iter().map(|built| &built.backend)
    }

    /// Whether any backend can answer; otherwise what each one says.
    pub fn readiness(&self) -> Result<(), String> {
        let states: Vec<_> =
            self.backends.iter().map(|built| (built.backend.name(), built.backend.readiness())).collect();
        if states.iter().any(|(_, state)| *state == Readiness::Ready) {
            return Ok(());
        }
        let describe = |(name, state): &(&str, Readiness)| match state {
            Readiness::Ready => format!("{name}: ready"),
            Readiness::Loading => format!("{name}: model is being loaded"),
            Readiness::Failed(reason) => format!("{name}: {reason}"),
        };
        Err(states.iter().map(describe).collect::<Vec<_>>().join("; "))
    }
}

fn built(
    policy: &BackendPolicy,
    credential: Option<String>,
    previous: Option<&Snapshot>,
    engines: &Engines,
) -> Result<BuiltBackend, BuildError> {
    let same = |built: &&BuiltBackend| {
        // Who else serves its models, in which order they are asked, and how much at once, is not its own affair.
        built.policy.name == policy.name
            && built.policy.kind == policy.kind
            && built.policy.timeouts == policy.timeouts
            && built.policy.circuit_breaker == policy.circuit_breaker
            && built.credential == credential
            && !matches!(built.backend.readiness(), Readiness::Failed(_))
    };
    let backend = match previous.and_then(|previous| previous.backends.iter().find(same)) {
        Some(built) => built.backend.clone(),
        None => Backend::new(policy, credential.as_deref(), engines)
            .map(Arc::new)
            .map_err(|error| BuildError::Backend { name: policy.name.clone(), error })?,
    };
    Ok(BuiltBackend { policy: policy.clone(), credential, backend })
}

fn store_settings(
    policy: &Policy,
    passwords: &BTreeMap<String, String>,
    limits: &Limits,
) -> Option<StoreSettings> {
    let store = policy.store.clone()?;
    let password = passwords.get(&layout::store_password_file(&store)).cloned();
    Some(StoreSettings { store, password, prefix: limits.hash_tag().to_owned() })
}

fn shared_answers(policy: &Policy, passwords: &BTreeMap<String, String>) -> Option<StoreSettings> {
    let SharedAnswers { store, scope } = policy.cache.as_ref()?.shared.clone()?;
    let password = passwords.get(&layout::store_password_file(&store)).cloned();
    // It has no braces, by which all keys would lie on one node of a cluster.
    Some(StoreSettings { store, password, prefix: scope })
}

fn routes(backends: &[BuiltBackend], automatic: Option<Automatic>) -> Routes {
    let target = |built: &BuiltBackend, model: &Model| {
        let target = Target {
            public_model: Arc::new(model.public_name().into()),
            backend_model: model.name.clone(),
            backend: built.backend.clone(),
            priority: built.policy.priority,
            weight: built.policy.weight,
        };
        (target, Talent { tier: model.tier, tasks: model.tasks.clone() })
    };
    let models =
        backends.iter().flat_map(|built| built.policy.models.iter().map(move |model| target(built, model)));
    Routes::new(models, automatic)
}
