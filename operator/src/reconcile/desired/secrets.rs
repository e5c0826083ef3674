//! The three Secrets. What is random is kept once it exists.

use super::facts::Facts;
use crate::reconcile::child::Child;
use crate::reconcile::observe::Observed;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use codecrucible_contract::{Bundle, layout};
use codecrucible_crds::CodeCrucible;
use kube::ResourceExt as _;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// The content of the three Secrets.
pub(super) struct Secrets {
    signing_key_pem: String,
    client: [(&'static str, String); 4],
    backend_credentials: Vec<(String, String)>,
}

impl Secrets {
    /// Takes what exists, and from the facts what does not.
    pub(super) fn new(resource: &CodeCrucible, observed: &Observed, facts: Facts, endpoint: &str) -> Self {
        let existing = |child, key| observed.data(child, key).filter(|value| !value.is_empty());
        let signing_key_pem = existing(Child::SigningKeys, layout::FIRST_SIGNING_KEY_FILE)
            .or(facts.signing_key_pem)
            .unwrap_or_default();
        let client_secret =
            existing(Child::Client, layout::CLIENT_SECRET_FILE).or(facts.client_secret).unwrap_or_default();
        let credentials = observed.credentials.iter();
        Self {
            signing_key_pem,
            client: [
                (layout::CLIENT_ID_FILE, resource.name_any()),
                (layout::CLIENT_SECRET_FILE, client_secret),
                ("token-url", format!("{endpoint}/oauth/token")),
                ("base-url", format!("{endpoint}/v1")),
            ],
            backend_credentials: credentials
                .filter_map(|(name, value)| Some((name.clone(), value.as_ref().ok()?.clone())))
                .collect(),
        }
    }

    pub(super) fn signing_keys(&self) -> Value {
        secret([(layout::FIRST_SIGNING_KEY_FILE, self.signing_key_pem.as_str())])
    }

    pub(super) fn client(&self) -> Value {
        secret(self.client.iter().map(|(key, value)| (*key, value.as_str())))
    }

    pub(super) fn backend_credentials(&self) -> Value {
        secret(self.backend_credentials.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }

    /// A name for all that the pods mount. Only a hash of the secrets is in it.
    pub(super) fn configuration(&self, bundle: &Bundle) -> String {
        let secrets = json!([self.signing_keys(), self.client(), self.backend_credentials()]).to_string();
        let hash: String = Sha256::digest(secrets).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        format!("{}.{hash}", bundle.revision())
    }
}

fn secret<'a>(data: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let data: Map<String, Value> =
        data.into_iter().map(|(key, value)| (key.to_owned(), STANDARD.encode(value).into())).collect();
    if data.is_empty() {
        // The API server drops an empty map, which would look like drift.
        return json!({"type": "Opaque"});
    }
    json!({"type": "Opaque", "data": data})
}
