//! How connections of clients are to be encrypted, and whether that can be done.

use super::Invalid;
use crate::service::observe::{MissingCredential, Observed};
use crate::service::shown::Encryption;
use codecrucible_crds::{CodeCrucible, Profile, TlsMode};

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
