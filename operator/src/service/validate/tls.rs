//! How connections of clients are to be encrypted, and whether that can be done.

use super::Invalid;
use crate::service::certificates::server_name;
use crate::service::child::Child;
use crate::service::observe::{MissingCertificate, Observed};
use crate::service::shown::Encryption;
use codecrucible_crds::{CodeCrucible, Profile, TlsMode};
use kube::ResourceExt as _;

/// Most that is passed on of what cert-manager says, characters.
const MAX_SAID_CHARACTERS: usize = 300;

/// What people may not expect of a certificate that was given.
pub(super) fn note(resource: &CodeCrucible, encryption: &Encryption) -> Option<String> {
    let Encryption::Given { names, .. } = encryption else { return None };
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
        TlsMode::CertManager => match observed.given_certificate {
            None | Some(Err(MissingCertificate::Secret)) => {
                Ok(Encryption::Awaited { because: what_cert_manager_says(observed) })
            }
            Some(_) => given("spec.tls.mode", resource, observed),
        },
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
            "{path}: the Secret {name:?} is not what cert-manager made for this resource; rename or delete it"
        ))),
        Some(Err(MissingCertificate::NotServed)) => Err(Invalid::not_served(format!(
            "{path}: the cluster does not serve cert-manager.io/v1; install cert-manager, or choose another mode"
        ))),
    }
}

/// Why it has issued nothing yet.
fn what_cert_manager_says(observed: &Observed) -> String {
    let object = observed.children.get(&Child::IssuedCertificate);
    let conditions = object.and_then(|object| object.data["status"]["conditions"].as_array());
    let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
    let said = ready.and_then(|ready| ready["message"].as_str()).unwrap_or("it has said nothing yet");
    said.chars().take(MAX_SAID_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_covered_by_itself_and_by_one_star_for_its_first_part() {
        assert!(covers("demo.team.svc", "Demo.team.svc") && covers("*.team.svc", "demo.team.svc"));
        for named in ["*.svc", "*", "api.example.com", "*.demo.team.svc"] {
            assert!(!covers(named, "demo.team.svc"), "{named}");
        }
    }
}
