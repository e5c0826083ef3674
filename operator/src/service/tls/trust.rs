//! Whether somebody who believes an authority would believe a certificate, and whether its key is its own.

use codecrucible_contract::certificates::Certified;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use std::time::Duration;

/// Belief in one authority, at one time.
pub(crate) struct Trust {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    now: UnixTime,
}

impl Trust {
    /// Nothing where the authority's certificate cannot be read. `now`: seconds since 1970.
    pub(crate) fn of(authority: &Certified, now: i64) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(authority)?).ok()?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now.try_into().ok()?));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Some(Self { roots: Arc::new(roots), provider, now })
    }

    /// Whether a server of this name is believed.
    pub(crate) fn in_server(&self, shown: &Certified, name: &str) -> bool {
        let verified = || {
            let (roots, provider) = (Arc::clone(&self.roots), Arc::clone(&self.provider));
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build().ok()?;
            let name = ServerName::try_from(name).ok()?;
            verifier.verify_server_cert(&certificate(shown)?, &[], &name, &[], self.now).ok()
        };
        self.has_own_key(shown) && verified().is_some()
    }

    /// Whether a client is believed.
    pub(crate) fn in_client(&self, shown: &Certified) -> bool {
        let verified = || {
            let (roots, provider) = (Arc::clone(&self.roots), Arc::clone(&self.provider));
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build().ok()?;
            verifier.verify_client_cert(&certificate(shown)?, &[], self.now).ok()
        };
        self.has_own_key(shown) && verified().is_some()
    }

    fn has_own_key(&self, shown: &Certified) -> bool {
        let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).ok();
        let own = certificate(shown)
            .zip(key)
            .map(|(certificate, key)| CertifiedKey::from_der(vec![certificate], key, &self.provider).is_ok());
        own.unwrap_or(false)
    }
}

fn certificate(certified: &Certified) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(certified.certificate.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecrucible_contract::certificates::{CERTIFICATE_SECONDS, Role, authority, issue};

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn each_side_is_believed_in_its_own_role_name_and_time() {
        let (ours, other) = (authority("a", NOW).unwrap(), authority("a", NOW).unwrap());
        let names = ["demo.team.svc".to_owned()];
        let server = issue(&ours, "a", Role::Server(&names), NOW).unwrap();
        let client = issue(&ours, "a", Role::Client("operator"), NOW).unwrap();
        let trust = Trust::of(&ours, NOW).unwrap();
        assert!(trust.in_server(&server, &names[0]) && trust.in_client(&client));
        assert!(!trust.in_server(&server, "other.team.svc"));
        assert!(!trust.in_server(&client, &names[0]) && !trust.in_client(&server));
        assert!(!Trust::of(&other, NOW).unwrap().in_client(&client));
        assert!(!Trust::of(&ours, NOW + CERTIFICATE_SECONDS + 1).unwrap().in_client(&client));
        assert!(!Trust::of(&ours, NOW - 1_000).unwrap().in_client(&client));
        assert!(!trust.in_client(&Certified { key: server.key, ..client }), "another one's key");
    }
}
