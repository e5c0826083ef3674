//! How connections of clients are encrypted.

use serde::{Deserialize, Serialize};

/// How connections of clients are encrypted: TLS 1.3, with this certificate. A change replaces the pods; a certificate that is
/// renewed does not.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Tls {
    /// Whose certificate it is. `OperatorCA`: the operator's, of an authority that the service has for itself, renewed; clients
    /// find the authority in their Secrets. `Secret`: that of `secretName`, whoever renews it. `Disabled`: nothing is encrypted;
    /// only with the profile `Development`.
    pub mode: TlsMode,
    /// A Secret with the keys `tls.crt`, `tls.key` and, if clients need it, `ca.crt`, such as cert-manager makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))]
    pub secret_name: Option<String>,
}

/// Whose certificate it is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
pub enum TlsMode {
    /// The operator's: signed by an authority that the service has for itself, and renewed. Clients find the authority as
    /// `ca.crt` in their Secret, and in `status.certificate.authority`.
    #[default]
    #[serde(rename = "OperatorCA")]
    OperatorCa,
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
