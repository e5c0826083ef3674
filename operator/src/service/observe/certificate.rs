//! The certificate that clients are to be shown, where it is not the operator's own: that of a Secret which somebody gave, or
//! which cert-manager writes. Pure.

use crate::service::tls::Given;
use codecrucible_contract::certificates::Certified;
use codecrucible_contract::layout;
use codecrucible_crds::{CodeCrucible, TlsMode, names};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;

/// Largest certificate or key that is looked at, bytes.
const MAX_PEM_BYTES: usize = 64 * 1024;
/// Where cert-manager notes for which Certificate it wrote a Secret.
const ISSUED_FOR: &str = "cert-manager.io/certificate-name";

/// Why there is no certificate to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MissingCertificate {
    /// There is no Secret.
    Secret,
    /// It lacks what is needed, or has too much of it.
    Keys,
    /// It is not the one that cert-manager made for this resource.
    Foreign,
    /// The cluster has no cert-manager.
    NotServed,
}

/// What is to be shown of a Secret.
pub(super) fn in_secret(
    secret: Option<Secret>,
    resource: &CodeCrucible,
) -> Result<Given, MissingCertificate> {
    let secret = secret.ok_or(MissingCertificate::Secret)?;
    let is_issued = secret.annotations().get(ISSUED_FOR) == Some(&names::workload(&resource.name_any()));
    if resource.spec.tls.mode == TlsMode::CertManager && !is_issued {
        return Err(MissingCertificate::Foreign);
    }
    pair_in(secret).ok_or(MissingCertificate::Keys)
}

fn pair_in(secret: Secret) -> Option<Given> {
    let mut data = secret.data.unwrap_or_default();
    let mut text = |key: &str| {
        let value = data.remove(key).filter(|value| value.0.len() <= MAX_PEM_BYTES)?;
        String::from_utf8(value.0).ok()
    };
    let (certificate, key) = (text(layout::CERTIFICATE_FILE)?, text(layout::CERTIFICATE_KEY_FILE)?);
    let authority = text(layout::AUTHORITY_FILE).filter(|authority| !authority.trim().is_empty());
    Some(Given { certified: Certified { certificate, key }, authority })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    fn secret(annotations: &Value, key: &str) -> Option<Secret> {
        let data = json!({"tls.crt": STANDARD.encode("crt"), "tls.key": STANDARD.encode(key), "ca.crt": ""});
        serde_json::from_value(json!({"metadata": {"annotations": annotations}, "data": data})).unwrap()
    }

    fn found(tls: Value, secret: Option<Secret>) -> Result<String, MissingCertificate> {
        let given = in_secret(secret, &fixtures::resource(json!({"tls": tls})));
        given.map(|given| given.certified.key)
    }

    #[test]
    fn of_a_secret_that_was_given_the_pair_is_taken() {
        let mine = || json!({"mode": "Secret", "secretName": "mine"});
        assert_eq!(found(mine(), secret(&json!({}), "key")), Ok("key".into()));
        assert_eq!(found(mine(), None), Err(MissingCertificate::Secret));
        let long = "x".repeat(MAX_PEM_BYTES + 1);
        assert_eq!(found(mine(), secret(&json!({}), &long)), Err(MissingCertificate::Keys));
    }

    #[test]
    fn what_cert_manager_did_not_write_for_this_resource_is_somebody_elses() {
        let issued = || json!({"mode": "CertManager", "issuerRef": {"name": "authority"}});
        let written_for = |name: &str| secret(&json!({ISSUED_FOR: name}), "key");
        assert_eq!(found(issued(), written_for("demo")), Ok("key".into()));
        for foreign in [written_for("other"), secret(&json!({}), "key")] {
            assert_eq!(found(issued(), foreign), Err(MissingCertificate::Foreign));
        }
    }
}
