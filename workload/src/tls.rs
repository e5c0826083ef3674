//! What a replica shows of itself, TLS 1.3 alone: to clients its certificate; and to whoever asks how it is, who must show one
//! of the same authority. The authority signs for clients only the operator, so nobody else is answered.

use crate::configuration::{CertificateFiles, KeyPairFiles};
use codecrucible_contract::sha256_hex;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier};
use std::sync::Arc;
use x509_parser::parse_x509_certificate;

/// Why the certificate cannot be used. The key is not in the message.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct CertificateError {
    what: &'static str,
    reason: String,
}

fn problem<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> CertificateError {
    move |reason| CertificateError { what, reason: reason.to_string() }
}

/// In words of ours: the library's tell the line that it did not understand, which may be a key in the wrong place.
fn not_pem<E>(what: &'static str) -> impl FnOnce(E) -> CertificateError {
    move |_| CertificateError { what, reason: "is not PEM".into() }
}

/// What clients are shown.
pub struct PublicCertificate {
    /// The server's side of connections.
    pub config: Arc<ServerConfig>,
    /// SHA-256 of the certificate, lower-case hexadecimal.
    pub fingerprint: String,
    /// When it ends, seconds since 1970.
    pub not_after: i64,
}

/// The server's side of connections of clients.
pub fn public_certificate(files: &KeyPairFiles) -> Result<PublicCertificate, CertificateError> {
    let (chain, key) = pair(files)?;
    let leaf = chain.first().ok_or_else(|| problem("the certificate")("there is none"))?;
    let fingerprint = sha256_hex(leaf);
    let not_after = parse_x509_certificate(leaf).map_err(problem("the certificate"))?.1.validity().not_after;
    let builder = builder()?.with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key).map_err(problem("the certificate and its key"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(PublicCertificate { config: Arc::new(config), fingerprint, not_after: not_after.timestamp() })
}

/// The server's side of connections of whoever asks how the replica is.
pub fn server_config(files: &CertificateFiles) -> Result<Arc<ServerConfig>, CertificateError> {
    let CertificateFiles { own, authority } = files;
    let mut authorities = RootCertStore::empty();
    for trusted in certificates("the authority's certificate", authority)? {
        authorities.add(trusted).map_err(problem("the authority's certificate"))?;
    }
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::new(default_provider()))
            .build()
            .map_err(problem("the authority's certificate"))?;
    let (chain, key) = pair(own)?;
    let mut config = builder()?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(problem("the certificate and its key"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn builder() -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, CertificateError> {
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(problem("TLS 1.3"))
}

/// A certificate with those that vouch for it, and its key.
type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn pair(files: &KeyPairFiles) -> Result<Pair, CertificateError> {
    let key = PrivateKeyDer::from_pem_slice(&files.key).map_err(not_pem("the key"))?;
    Ok((certificates("the certificate", &files.certificate)?, key))
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(not_pem(what))
}
