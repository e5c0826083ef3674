//! The Secrets.

use crate::agreement::credentials;
use crate::conventions::secret;
use crate::service::facts::Facts;
use crate::service::tls::{AUTHORITY_KEY, Certificates, NOT_AFTER, OPERATOR_FILE, OPERATOR_KEY};
use codecrucible_contract::{Clients, layout};
use codecrucible_crds::CodeCrucible;
use kube::ResourceExt as _;
use serde_json::Value;
use std::collections::BTreeMap;

/// The content of the Secrets.
pub(super) struct Secrets<'a> {
    signing_key_pem: &'a str,
    client: Vec<(&'static str, String)>,
    clients: &'a Clients,
    backend_credentials: &'a BTreeMap<String, String>,
    certificates: &'a Certificates,
}

impl<'a> Secrets<'a> {
    pub(super) fn new(
        resource: &CodeCrucible,
        backend_credentials: &'a BTreeMap<String, String>,
        facts: &'a Facts,
        clients: &'a Clients,
        (endpoint, authority): (&str, Option<&str>),
    ) -> Self {
        let Facts { signing_key_pem, client_secret, certificates } = facts;
        let client = credentials(resource.name_any(), client_secret.clone(), endpoint, authority);
        Self { signing_key_pem, client, clients, backend_credentials, certificates }
    }

    pub(super) fn signing_keys(&self) -> Value {
        secret([(layout::FIRST_SIGNING_KEY_FILE, self.signing_key_pem)])
    }

    pub(super) fn client(&self) -> Value {
        secret(self.client.iter().map(|(key, value)| (*key, value.as_str())))
    }

    pub(super) fn clients(&self) -> Value {
        clients(self.clients)
    }

    pub(super) fn backend_credentials(&self) -> Value {
        secret(self.backend_credentials.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }

    pub(super) fn authority(&self) -> Value {
        authority(self.certificates)
    }

    pub(super) fn certificate(&self) -> Value {
        certificate(self.certificates)
    }
}

/// What no pod mounts.
pub(super) fn authority(Certificates { authority, operator, .. }: &Certificates) -> Value {
    secret([
        (layout::AUTHORITY_FILE, authority.certificate.as_str()),
        (AUTHORITY_KEY, &authority.key),
        (OPERATOR_FILE, &operator.certified.certificate),
        (OPERATOR_KEY, &operator.certified.key),
        (NOT_AFTER, &operator.not_after.to_string()),
    ])
}

/// What replicas show.
pub(super) fn certificate(Certificates { authority, replica, .. }: &Certificates) -> Value {
    secret([
        (layout::AUTHORITY_FILE, authority.certificate.as_str()),
        (layout::CERTIFICATE_FILE, &replica.certified.certificate),
        (layout::CERTIFICATE_KEY_FILE, &replica.certified.key),
        (NOT_AFTER, &replica.not_after.to_string()),
    ])
}

/// Identifiers, and hashes of secrets.
pub(super) fn clients(clients: &Clients) -> Value {
    secret([(layout::CLIENTS_FILE, clients.to_json().as_str())])
}
