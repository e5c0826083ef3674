//! How connections of clients are to be encrypted, and whether that can be done.

use super::Invalid;
use crate::conventions::shortened;
use crate::service::child::Child;
use crate::service::observe::{MissingCertificate, Observed};
use crate::service::tls::Encryption;
use crate::service::tls::server_name;
use codecrucible_crds::{CodeCrucible, Profile, TlsMode};
use kube::ResourceExt as _;
use serde_json::Value;

/// What people may not expect of a certificate that was given.
pub(super) fn notes(resource: &CodeCrucible, observed: &Observed, encryption: &Encryption) -> Vec<String> {
    let Encryption::Given { names, .. } = encryption else { return Vec::new() };
    unnamed(resource, names).into_iter().chain(not_renewed(observed)).collect()
}

fn unnamed(resource: &CodeCrucible, names: &[String]) -> Option<String> {
    let name = server_name(resource);
    let is_named = names.iter().any(|named| covers(named, &name));
    let field = match resource.spec.tls.mode {
        TlsMode::CertManager => "dnsNames",
        _ => "secretName",
    };
    (!is_named).then(|| {
        format!("spec.tls.{field}: the certificate does not name {name}, under which the Secrets of clients have it")
    })
}

/// Why cert-manager does not renew what it has issued. What is shown goes on until it ends.
fn not_renewed(observed: &Observed) -> Option<String> {
    let refused = |type_| condition(observed, type_).filter(|condition| condition["status"] == "False");
    let said = refused("Issuing").or_else(|| refused("Ready"))?["message"].as_str()?;
    Some(format!("spec.tls.mode: cert-manager does not renew the certificate: {}", shortened(said)))
}

/// Whether a name in a certificate, which may begin with `*.`, covers another one (RFC 6125, section 6.4).
fn covers(named: &str, name: &str) -> bool {
    match named.strip_prefix("*.") {
        Some(domain) => name.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
        None => named.eq_ignore_ascii_case(name),
    }
}

pub(super) fn encryption(resource: &CodeCrucible, observed: &Observed) -> Result<Encryption, Invalid> {
    let tls = &resource.spec.tls;
    match tls.mode {
        // The schema refuses it too; an object may be older than that.
        TlsMode::Disabled if resource.spec.profile != Profile::Development => {
            Err(Invalid::value("spec.tls.mode: Disabled is only for profile Development".into()))
        }
        TlsMode::Disabled => Ok(Encryption::Disabled),
        TlsMode::OperatorCa => Ok(Encryption::Own),
        TlsMode::Secret => {
            let path = "spec.tls.secretName";
            if tls.secret_name.is_none() {
                return Err(Invalid::value(format!("{path}: is required for mode Secret")));
            }
            given(path, resource, observed)
        }
        TlsMode::CertManager if tls.issuer_ref.is_none() => {
            Err(Invalid::value("spec.tls.issuerRef: is required for mode CertManager".into()))
        }
        TlsMode::CertManager if observed.awaits_certificate(resource) => {
            Ok(Encryption::Awaited { because: what_cert_manager_says(resource, observed) })
        }
        TlsMode::CertManager => given("spec.tls.mode", resource, observed),
    }
}

fn given(path: &str, resource: &CodeCrucible, observed: &Observed) -> Result<Encryption, Invalid> {
    let name = resource.spec.tls.given_secret(&resource.name_any()).unwrap_or_default();
    match &observed.given_certificate {
        Some(Ok(given)) => Encryption::try_from(given)
            .map_err(|wrong| Invalid::value(format!("{path}: of the Secret {name:?}, {wrong}"))),
        None | Some(Err(MissingCertificate::Secret)) => {
            Err(Invalid::not_found(format!("{path}: there is no Secret {name:?} in this namespace")))
        }
        Some(Err(MissingCertificate::Keys)) => Err(Invalid::not_found(format!(
            "{path}: the Secret {name:?} needs the keys tls.crt and tls.key, of at most 64 KiB of text each"
        ))),
        Some(Err(MissingCertificate::Foreign)) => Err(Invalid::not_owned(format!(
            "{path}: the Secret {name:?} is not what cert-manager made for this resource; delete it, or give this resource another name"
        ))),
        Some(Err(MissingCertificate::NotServed)) => Err(Invalid::not_served(format!(
            "{path}: the cluster does not serve cert-manager.io/v1; install cert-manager, or choose another mode"
        ))),
    }
}

/// Why it has issued nothing yet, and where a person sees more.
fn what_cert_manager_says(resource: &CodeCrucible, observed: &Observed) -> String {
    let failed = condition(observed, "Issuing").filter(|condition| condition["status"] == "False");
    let said = failed.or_else(|| condition(observed, "Ready"));
    let said = said.and_then(|said| said["message"].as_str()).unwrap_or("it has said nothing yet");
    let issuer = resource.spec.tls.issuer_ref.as_ref();
    let issuer = issuer.map_or_else(String::new, |issuer| format!("{} {:?}", issuer.kind, issuer.name));
    let namespace = resource.namespace().unwrap_or_default();
    format!(
        "cert-manager has not issued the certificate: {} ({issuer}; kubectl -n {namespace} describe \
         certificate,certificaterequest)",
        shortened(said)
    )
}

fn condition<'a>(observed: &'a Observed, type_: &str) -> Option<&'a Value> {
    let object = observed.children.get(&Child::IssuedCertificate)?;
    let mut conditions = object.data["status"]["conditions"].as_array()?.iter();
    conditions.find(|condition| condition["type"] == type_)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use serde_json::json;

    /// Cert-manager's conditions, each with its message.
    fn says(conditions: &[(&str, &str, &str)]) -> (CodeCrucible, Observed) {
        let issuer = json!({"mode": "CertManager", "issuerRef": {"name": "authority"}});
        let (resource, mut observed) = (fixtures::resource(json!({"tls": issuer})), fixtures::observed());
        let condition = |(type_, status, message): &(&str, &str, &str)| json!({"type": type_, "status": status, "message": message});
        let conditions: Vec<_> = conditions.iter().map(condition).collect();
        let object = json!({"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "demo"},
            "status": {"conditions": conditions}});
        observed.children.insert(Child::IssuedCertificate, serde_json::from_value(object).unwrap());
        (resource, observed)
    }

    #[test]
    fn why_nothing_is_issued_is_told_by_what_failed_last() {
        let said = |conditions: &[(&str, &str, &str)]| {
            let (resource, observed) = says(conditions);
            what_cert_manager_says(&resource, &observed)
        };
        assert_eq!(
            said(&[]),
            "cert-manager has not issued the certificate: it has said nothing yet (Issuer \"authority\"; \
             kubectl -n team describe certificate,certificaterequest)"
        );
        let ready = ("Ready", "False", "no such issuer");
        assert!(said(&[ready]).contains("no such issuer"));
        assert!(said(&[ready, ("Issuing", "True", "begins")]).contains("no such issuer"));
        assert!(said(&[ready, ("Issuing", "False", "it was denied")]).contains("it was denied"));
    }

    #[test]
    fn that_a_certificate_is_not_renewed_is_told_while_it_is_still_good() {
        let told = |conditions: &[(&str, &str, &str)]| not_renewed(&says(conditions).1);
        let ready = ("Ready", "True", "it is up to date");
        assert_eq!(told(&[ready]), None);
        assert_eq!(told(&[ready, ("Issuing", "True", "begins")]), None);
        let failed = told(&[ready, ("Issuing", "False", "it was denied")]).unwrap();
        assert_eq!(failed, "spec.tls.mode: cert-manager does not renew the certificate: it was denied");
    }

    #[test]
    fn a_name_is_covered_by_itself_and_by_one_star_for_its_first_part() {
        assert!(covers("demo.team.svc", "Demo.team.svc") && covers("*.team.svc", "demo.team.svc"));
        for named in ["*.svc", "*", "api.example.com", "*.demo.team.svc"] {
            assert!(!covers(named, "demo.team.svc"), "{named}");
        }
    }
}
