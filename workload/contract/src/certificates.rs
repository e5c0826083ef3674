//! The certificates by which a service's replicas and the operator know each other: an authority of the service's own, a
//! server certificate for the replicas, and a client certificate for the operator. Keys are P-256.

use crate::secrets::SecretError;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::OffsetDateTime;

/// Life of an authority, seconds (ten years).
const AUTHORITY_SECONDS: i64 = 3_650 * 86_400;
/// Life of the certificates that it signs, seconds (ninety days).
pub const CERTIFICATE_SECONDS: i64 = 90 * 86_400;
/// How far the clocks of two machines may be apart, seconds.
const SKEW_SECONDS: i64 = 300;

/// A certificate and its key, both PEM. Without `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Certified {
    /// The certificate.
    pub certificate: String,
    /// Its key, PKCS#8.
    pub key: String,
}

/// What a certificate is good for.
#[derive(Clone, Copy, Debug)]
pub enum Role<'a> {
    /// To be reached under these names.
    Server(&'a [String]),
    /// To ask, under this name.
    Client(&'a str),
}

/// A new authority. `name` tells people whose it is; times are in seconds since 1970.
pub fn authority(name: &str, now: i64) -> Result<Certified, SecretError> {
    let key = KeyPair::generate().map_err(|_| SecretError)?;
    let params = authority_params(name, now)?;
    let certificate = params.self_signed(&key).map_err(|_| SecretError)?.pem();
    Ok(Certified { certificate, key: key.serialize_pem() })
}

/// A certificate of an authority that was made under `name`.
pub fn issue(authority: &Certified, name: &str, role: Role<'_>, now: i64) -> Result<Certified, SecretError> {
    let signer = KeyPair::from_pem(&authority.key).map_err(|_| SecretError)?;
    let issuer = Issuer::new(authority_params(name, now)?, signer);
    let key = KeyPair::generate().map_err(|_| SecretError)?;
    let params = certificate_params(role, now)?;
    let certificate = params.signed_by(&key, &issuer).map_err(|_| SecretError)?.pem();
    Ok(Certified { certificate, key: key.serialize_pem() })
}

/// Whether a certificate that ends then is to be renewed: when two thirds of its life are over, and when it ends so late
/// that it was made by a clock that went wrong, and is not good yet.
pub fn is_due(not_after: i64, now: i64) -> bool {
    let latest = now.saturating_add(CERTIFICATE_SECONDS + SKEW_SECONDS);
    now >= not_after.saturating_sub(CERTIFICATE_SECONDS / 3) || not_after > latest
}

fn authority_params(name: &str, now: i64) -> Result<CertificateParams, SecretError> {
    let mut params = valid(Vec::new(), now, AUTHORITY_SECONDS)?;
    params.distinguished_name.push(DnType::CommonName, format!("{name} authority"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(params)
}

fn certificate_params(role: Role<'_>, now: i64) -> Result<CertificateParams, SecretError> {
    let (names, name, usage) = match role {
        Role::Server(names) => {
            let first = names.first().map(String::as_str).unwrap_or_default();
            (names.to_vec(), first, ExtendedKeyUsagePurpose::ServerAuth)
        }
        Role::Client(name) => (Vec::new(), name, ExtendedKeyUsagePurpose::ClientAuth),
    };
    let mut params = valid(names, now, CERTIFICATE_SECONDS)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn valid(names: Vec<String>, now: i64, seconds: i64) -> Result<CertificateParams, SecretError> {
    let at = |time: i64| OffsetDateTime::from_unix_timestamp(time).map_err(|_| SecretError);
    let mut params = CertificateParams::new(names).map_err(|_| SecretError)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = at(now.saturating_sub(SKEW_SECONDS))?;
    params.not_after = at(now.saturating_add(seconds))?;
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_when_two_thirds_of_its_life_are_over() {
        let end = 1_000_000 + CERTIFICATE_SECONDS;
        let at = |part: i64| is_due(end, 1_000_000 + CERTIFICATE_SECONDS * part / 6);
        assert!(!at(0) && !at(3) && at(4) && at(6) && at(7));
        assert!(is_due(end, 1_000_000 - SKEW_SECONDS - 1), "made by a clock that was ahead");
    }

    #[test]
    fn an_authority_that_is_read_back_signs_as_before() {
        let made = authority("team/demo", 1_000_000).unwrap();
        let names = ["demo.team.svc".to_owned()];
        for role in [Role::Server(&names), Role::Client("operator")] {
            let certified = issue(&made, "team/demo", role, 1_000_000).unwrap();
            assert!(certified.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
            assert!(certified.key.starts_with("-----BEGIN PRIVATE KEY-----"));
        }
    }

    #[test]
    fn a_broken_authority_signs_nothing() {
        let broken = Certified { certificate: String::new(), key: "no key".into() };
        assert!(issue(&broken, "team/demo", Role::Client("operator"), 0).is_err());
    }
}
