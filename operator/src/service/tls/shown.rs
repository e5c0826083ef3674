//! The certificate that clients are shown. Pure.

use super::certificates::Certificates;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use codecrucible_contract::certificates::Certified;
use codecrucible_contract::sha256_hex;
use codecrucible_crds::CertificateStatus;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// Longest text of an authority that is passed on, bytes.
const MAX_AUTHORITY_BYTES: usize = 16 * 1024;
/// Length of a line of base64 in PEM, characters.
const PEM_LINE_CHARACTERS: usize = 64;

/// How connections of clients are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Encryption {
    /// Not at all.
    Disabled,
    /// With the certificate that replicas have anyhow.
    Own,
    /// With one that cert-manager has not issued yet: pods wait for it.
    Awaited {
        /// What cert-manager says.
        because: String,
    },
    /// With one that somebody gave.
    Given {
        shown: Shown,
        /// The DNS names that it is good for.
        names: Vec<String>,
        /// Changes when anything of it does, the key too.
        hash: String,
    },
}

/// A certificate that clients are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// SHA-256, lower-case hexadecimal.
    pub(crate) fingerprint: String,
    /// When it ends, seconds since 1970.
    pub(crate) not_after: i64,
    /// Who vouches for it, PEM, if clients need to be told.
    pub(crate) authority: Option<String>,
}

/// A certificate as somebody gave it. Without `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) certified: Certified,
    pub(crate) authority: Option<String>,
}

impl Encryption {
    /// Why there is nothing to show yet, although there should be.
    pub(crate) fn awaits(&self) -> Option<&str> {
        match self {
            Self::Disabled | Self::Own | Self::Given { .. } => None,
            Self::Awaited { because } => Some(because),
        }
    }

    /// A name by which the service is known to whoever connects to it: the one inside the cluster, unless the certificate is good for
    /// others only.
    pub(crate) fn server_name<'a>(&'a self, inside: &'a str) -> &'a str {
        let names = match self {
            Self::Given { names, .. } => names.as_slice(),
            Self::Disabled | Self::Own | Self::Awaited { .. } => &[],
        };
        let is_good = names.iter().any(|name| name == inside);
        let other = names.iter().find(|name| !is_good && !name.starts_with('*'));
        other.map_or(inside, String::as_str)
    }

    /// A name for what somebody gave; the operator's own certificate has its own.
    pub(crate) fn hash(&self) -> Option<&str> {
        match self {
            Self::Disabled | Self::Own | Self::Awaited { .. } => None,
            Self::Given { hash, .. } => Some(hash),
        }
    }
}

impl Shown {
    /// The certificate that replicas have anyhow.
    pub(crate) fn own(Certificates { authority, replica, .. }: &Certificates) -> Self {
        Self {
            // A certificate that we made is PEM.
            fingerprint: fingerprint(&replica.certified.certificate).unwrap_or_default(),
            not_after: replica.not_after,
            authority: Some(authority.certificate.clone()),
        }
    }

    /// What was handed out before.
    pub(crate) fn reported(
        CertificateStatus { fingerprint, not_after, authority, .. }: &CertificateStatus,
    ) -> Self {
        let not_after = not_after.0.as_second();
        Self { fingerprint: fingerprint.clone(), not_after, authority: authority.clone() }
    }
}

impl TryFrom<&Given> for Encryption {
    type Error = &'static str;

    fn try_from(given: &Given) -> Result<Self, Self::Error> {
        let Given { certified: Certified { certificate, key }, authority } = given;
        let chain = chain(certificate).ok_or("tls.crt is not a certificate in PEM")?;
        let leaf = chain.first().ok_or("tls.crt is not a certificate in PEM")?;
        let (_, parsed) = parse_x509_certificate(leaf).map_err(|_| "tls.crt is not a certificate")?;
        let not_after = parsed.validity().not_after.timestamp();
        let names = dns_names(&parsed);
        let fingerprint = sha256_hex(leaf);
        let private =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| "tls.key is not a key in PEM")?;
        CertifiedKey::from_der(chain, private, &default_provider()).map_err(
            |_| "tls.key is not the key of the certificate in tls.crt, or of a kind that is not supported",
        )?;
        let authority = authority.as_deref().map(certificates_alone).transpose()?;
        let authority = authority.filter(|authority| authority.len() <= MAX_AUTHORITY_BYTES);
        let hash = sha256_hex(format!("{certificate}{key}"));
        Ok(Self::Given { shown: Shown { fingerprint, not_after, authority }, names, hash })
    }
}

fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension.map(|extension| extension.value.general_names.iter()).into_iter().flatten();
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    };
    names.filter_map(dns).collect()
}

/// The certificates in a text, and nothing else of it: it is passed on to everybody who may read a client's Secret.
fn certificates_alone(text: &str) -> Result<String, &'static str> {
    let wrong = "ca.crt is not certificates in PEM";
    let chain = chain(text).filter(|chain| !chain.is_empty()).ok_or(wrong)?;
    let mut alone = String::new();
    for certificate in &chain {
        parse_x509_certificate(certificate).map_err(|_| wrong)?;
        alone.push_str(&in_pem(certificate));
    }
    Ok(alone)
}

/// RFC 7468, section 5.1.
fn in_pem(certificate: &[u8]) -> String {
    let text = STANDARD.encode(certificate);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(PEM_LINE_CHARACTERS) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

fn chain(pem: &str) -> Option<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().ok()
}

fn fingerprint(pem: &str) -> Option<String> {
    chain(pem)?.first().map(sha256_hex)
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecrucible_contract::certificates::{CERTIFICATE_SECONDS, Role, authority, issue};

    const NOW: i64 = 1_800_000_000;

    fn given() -> Given {
        let authority = authority("a", NOW).unwrap();
        let certified = issue(&authority, "a", Role::Server(&["demo.team.svc".to_owned()]), NOW).unwrap();
        Given { certified, authority: Some(authority.certificate) }
    }

    #[test]
    fn a_certificate_that_is_given_is_told_by_its_end_and_its_fingerprint() {
        let given = given();
        let Ok(Encryption::Given { shown, names, .. }) = Encryption::try_from(&given) else {
            panic!("it is good")
        };
        assert_eq!(names, ["demo.team.svc"]);
        assert_eq!(shown.not_after, NOW + CERTIFICATE_SECONDS);
        assert_eq!(Some(shown.fingerprint), fingerprint(&given.certified.certificate));
        assert_eq!(shown.authority, given.authority.map(|pem| pem.replace("\r\n", "\n")));
    }

    #[test]
    fn of_an_authority_only_certificates_are_passed_on() {
        let good = given();
        let with = |authority: String| Encryption::try_from(&Given { authority: Some(authority), ..given() });
        let authority = good.authority.unwrap().replace("\r\n", "\n");
        let Ok(Encryption::Given { shown, .. }) = with(format!("a note\n{}{authority}", good.certified.key))
        else {
            panic!("it is good")
        };
        assert_eq!(shown.authority, Some(authority));
        for wrong in ["a note".to_owned(), good.certified.key] {
            assert_eq!(with(wrong), Err("ca.crt is not certificates in PEM"));
        }
    }

    #[test]
    fn what_is_no_pair_is_refused_in_words_without_the_key() {
        let refusal = |change: &dyn Fn(&mut Given)| {
            let mut given = given();
            change(&mut given);
            Encryption::try_from(&given).unwrap_err()
        };
        assert!(refusal(&|given| given.certified.certificate = "x".into()).starts_with("tls.crt"));
        assert!(
            refusal(&|given| given.certified.certificate = given.certified.key.clone())
                .starts_with("tls.crt")
        );
        assert!(refusal(&|given| given.certified.key = String::new()).starts_with("tls.key"));
        let other = given().certified.key;
        assert!(refusal(&|given| given.certified.key = other.clone()).starts_with("tls.key is not the key"));
    }
}
