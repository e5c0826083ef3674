//! How connections of clients are to be encrypted, and whether that can be done.

use super::Invalid;
use crate::service::certificates::server_name;
use crate::service::observe::{MissingCredential, Observed};
use crate::service::shown::Encryption;
use codecrucible_crds::{CodeCrucible, Profile, TlsMode};

/// What people may not expect of a certificate that was given.
pub(super) fn note(resource: &CodeCrucible, encryption: &Encryption) -> Option<String> {
    let Encryption::Given { names, .. } = encryption else { return None };
    let name = server_name(resource);
    let is_named = names.iter().any(|named| covers(named, &name));
    (!is_named).then(|| {
        format!("spec.tls.secretName: the certificate does not name {name}, under which the Secrets of clients have it")
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
            let Some(name) = &tls.secret_name else {
                return Err(Invalid::value(format!("{path}: is required for mode Secret")));
            };
            match &observed.given_certificate {
                Some(Ok(given)) => Encryption::try_from(given)
                    .map_err(|wrong| Invalid::value(format!("{path}: of the Secret {name:?}, {wrong}"))),
                None | Some(Err(MissingCredential::Secret)) => {
                    Err(Invalid::not_found(format!("{path}: there is no Secret {name:?} in this namespace")))
                }
                Some(Err(_)) => Err(Invalid::not_found(format!(
                    "{path}: the Secret {name:?} needs the keys tls.crt and tls.key, of at most 64 KiB of text each"
                ))),
            }
        }
    }
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
