//! Everything that a request needs, built once for each change of the configuration and swapped as a whole.

use crate::backend::{Backend, BackendError, Engines, Readiness};
use crate::configuration::Configuration;
use crate::identity::{Client, KeyError, SigningKeys, TokenAuthority};
use codecrucible_contract::{Backend as BackendPolicy, Bundle};
use std::collections::HashMap;
use std::sync::Arc;

/// One configuration, ready to serve.
pub struct Snapshot {
    /// The bundle that it was built from.
    pub bundle: Bundle,
    /// Issues and verifies tokens.
    pub tokens: TokenAuthority,
    /// The client that may ask for tokens.
    pub client: Client,
    routes: Vec<Route>,
    by_model: HashMap<String, usize>,
    backends: Vec<BuiltBackend>,
    /// Hash of everything that was read, to tell whether a new reading differs.
    fingerprint: [u8; 32],
}

/// Where one public model name leads.
pub struct Route {
    /// The name that clients use.
    pub public_model: String,
    /// The name that the backend uses.
    pub backend_model: String,
    /// Who answers.
    pub backend: Arc<Backend>,
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
        error: BackendError,
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
        let Configuration { bundle, signing_keys, client_id, client_secret, backend_credentials } =
            configuration;
        let keys = SigningKeys::from_pem_files(&signing_keys)?;
        let mut backends = Vec::new();
        for policy in &bundle.policy().backends {
            let credential = backend_credentials.get(&policy.name).cloned();
            backends.push(built(policy, credential, previous, engines)?);
        }
        let routes = routes(&backends);
        let by_model =
            routes.iter().enumerate().map(|(index, route)| (route.public_model.clone(), index)).collect();
        Ok(Self {
            tokens: TokenAuthority::new(keys, &bundle.policy().identity),
            client: Client::new(&client_id, &client_secret),
            bundle,
            routes,
            by_model,
            backends,
            fingerprint,
        })
    }

    /// Whether a new reading differs, or a backend that failed deserves another try.
    pub fn is_outdated(&self, configuration: &Configuration) -> bool {
        let failed = |built: &BuiltBackend| matches!(built.backend.readiness(), Readiness::Failed(_));
        self.fingerprint != configuration.fingerprint() || self.backends.iter().any(failed)
    }

    /// Where a model name leads.
    pub fn route(&self, model: &str) -> Option<&Route> {
        self.by_model.get(model).map(|&index| &self.routes[index])
    }

    /// Every route, in the policy's order of preference.
    pub fn routes(&self) -> &[Route] {
        &self.routes
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
        built.policy == *policy
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

fn routes(backends: &[BuiltBackend]) -> Vec<Route> {
    let route = |built: &BuiltBackend, model: &codecrucible_contract::Model| Route {
        public_model: model.public_name().to_owned(),
        backend_model: model.name.clone(),
        backend: built.backend.clone(),
    };
    backends
        .iter()
        .flat_map(|built| built.policy.models.iter().map(move |model| route(built, model)))
        .collect()
}
