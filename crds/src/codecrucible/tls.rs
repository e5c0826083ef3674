//! How connections of clients are encrypted.

use crate::names;
use serde::{Deserialize, Serialize};

/// How connections of clients are encrypted: TLS 1.3, with this certificate. A change of the mode or the Secret replaces the pods;
/// a certificate that is renewed, or issued for other names or by somebody else, does not.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Tls {
    /// Whose certificate it is. `OperatorCA`: the operator's, of an authority that the service has for itself, renewed; clients
    /// find the authority in their Secrets. `CertManager`: what cert-manager has `issuerRef` issue, and renews; the cluster needs
    /// cert-manager. `Secret`: that of `secretName`, whoever renews it. `Disabled`: nothing is encrypted; only with the profile
    /// `Development`.
    pub mode: TlsMode,
    /// A Secret with the keys `tls.crt`, `tls.key` and, if clients need it, `ca.crt`, such as cert-manager makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))]
    pub secret_name: Option<String>,
    /// For mode `CertManager`: who issues the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerReference>,
    /// For mode `CertManager`: the DNS names that the certificate is good for, in place of the service's names inside the cluster,
    /// which it has otherwise. A public authority signs only public ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 32),
        inner(length(min = 1, max = 253), regex(pattern = r"^([*][.])?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))
    )]
    pub dns_names: Option<Vec<String>>,
}

impl Tls {
    /// The Secret with the certificate that clients are shown, of a service of a name; none where it is the operator's own, or
    /// nothing is encrypted.
    pub fn given_secret(&self, service: &str) -> Option<String> {
        match self.mode {
            TlsMode::Secret => self.secret_name.clone(),
            TlsMode::CertManager => Some(names::issued_certificate_secret(service)),
            TlsMode::OperatorCa | TlsMode::Disabled => None,
        }
    }
}

/// An issuer of cert-manager, or one that works with it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))]
    pub name: String,
    /// Its kind: `Issuer`, which is one of this namespace, or `ClusterIssuer`, which must be said; of another group, what that has.
    #[serde(default = "issuer_kind")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Z][A-Za-z0-9]*$"))]
    pub kind: String,
    /// Its group.
    #[serde(default = "issuer_group")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))]
    pub group: String,
}

fn issuer_kind() -> String {
    "Issuer".into()
}

fn issuer_group() -> String {
    names::CERT_MANAGER_GROUP.into()
}

/// Whose certificate it is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
pub enum TlsMode {
    /// The operator's: signed by an authority that the service has for itself, and renewed. Clients find the authority as
    /// `ca.crt` in their Secret, and in `status.certificate.authority`.
    #[default]
    #[serde(rename = "OperatorCA")]
    OperatorCa,
    /// That which cert-manager has an issuer issue, and renews.
    CertManager,
    /// That of a Secret, whoever renews it.
    Secret,
    /// Nothing is encrypted. Only with the profile `Development`.
    Disabled,
}

/// What a service is for.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
pub enum Profile {
    /// To try things out: what is not safe may be asked for, such as `tls.mode: Disabled`.
    Development,
    /// As in production.
    Staging,
    /// What is not safe is refused.
    #[default]
    Production,
}
