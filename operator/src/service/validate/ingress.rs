//! Whether an Ingress can be as it is asked for.

use super::Invalid;
use crate::service::child::Child;
use codecrucible_crds::{CodeCrucible, TlsMode, names};
use kube::ResourceExt as _;

/// What writes the certificate of an Ingress, such as cert-manager, must not write into a Secret that the service has for itself.
pub(super) fn check(resource: &CodeCrucible) -> Result<(), Invalid> {
    let ingress = resource.spec.network.ingress.as_ref();
    let Some(secret) = ingress.and_then(|ingress| ingress.tls_secret_name.as_deref()) else { return Ok(()) };
    let ours = Child::ALL.into_iter().filter(|child| child.kind() == "Secret");
    let is_issued = resource.spec.tls.mode == TlsMode::CertManager;
    let issued = is_issued.then(|| names::issued_certificate_secret(&resource.name_any()));
    if ours.map(|child| child.name(resource)).chain(issued).any(|name| name == secret) {
        return Err(Invalid::value(format!(
            "spec.network.ingress.tlsSecretName: {secret:?} is a Secret that the service has for itself"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use serde_json::json;

    #[test]
    fn the_secrets_of_the_service_are_not_shown_by_an_ingress() {
        let check = |mode: &str, name: &str| {
            let ingress = json!({"hosts": ["a.example"], "tlsSecretName": name});
            check(&fixtures::resource(json!({"tls": {"mode": mode}, "network": {"ingress": ingress}})))
        };
        for name in ["demo-authority", "demo-certificate", "demo-signing-keys", "demo-client"] {
            let refused = check("OperatorCA", name).unwrap_err();
            assert!(
                refused.message.starts_with("spec.network.ingress.tlsSecretName: "),
                "{}",
                refused.message
            );
        }
        assert!(check("OperatorCA", "demo-tls").is_ok() && check("CertManager", "demo-tls").is_err());
    }
}
