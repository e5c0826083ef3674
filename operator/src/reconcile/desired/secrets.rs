//! The Secrets.

use crate::reconcile::certificates::{AUTHORITY_KEY, Certificates, NOT_AFTER, OPERATOR_FILE, OPERATOR_KEY};
use crate::reconcile::facts::Facts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use codecrucible_contract::layout;
use codecrucible_crds::CodeCrucible;
use kube::ResourceExt as _;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The content of the Secrets.
pub(super) struct Secrets<'a> {
    signing_key_pem: &'a str,
    client: [(&'static str, String); 4],
    backend_credentials: &'a BTreeMap<String, String>,
    certificates: &'a Certificates,
}

impl<'a> Secrets<'a> {
    pub(super) fn new(
        resource: &CodeCrucible,
        backend_credentials: &'a BTreeMap<String, String>,
        facts: &'a Facts,
        endpoint: &str,
    ) -> Self {
        let Facts { signing_key_pem, client_secret, certificates } = facts;
        let client = [
            (layout::CLIENT_ID_FILE, resource.name_any()),
            (layout::CLIENT_SECRET_FILE, client_secret.clone()),
            ("token-url", format!("{endpoint}/oauth/token")),
            ("base-url", format!("{endpoint}/v1")),
        ];
        Self { signing_key_pem, client, backend_credentials, certificates }
    }

    pub(super) fn signing_keys(&self) -> Value {
        secret([(layout::FIRST_SIGNING_KEY_FILE, self.signing_key_pem)])
    }

    pub(super) fn client(&self) -> Value {
        secret(self.client.iter().map(|(key, value)| (*key, value.as_str())))
    }

    pub(super) fn backend_credentials(&self) -> Value {
        secret(self.backend_credentials.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }

    /// What no pod mounts.
    pub(super) fn authority(&self) -> Value {
        let Certificates { authority, operator, .. } = self.certificates;
        secret([
            (layout::AUTHORITY_FILE, authority.certificate.as_str()),
            (AUTHORITY_KEY, &authority.key),
            (OPERATOR_FILE, &operator.certified.certificate),
            (OPERATOR_KEY, &operator.certified.key),
            (NOT_AFTER, &operator.not_after.to_string()),
        ])
    }

    pub(super) fn certificate(&self) -> Value {
        let Certificates { authority, replica, .. } = self.certificates;
        secret([
            (layout::AUTHORITY_FILE, authority.certificate.as_str()),
            (layout::CERTIFICATE_FILE, &replica.certified.certificate),
            (layout::CERTIFICATE_KEY_FILE, &replica.certified.key),
            (NOT_AFTER, &replica.not_after.to_string()),
        ])
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
