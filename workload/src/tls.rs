//! What a replica shows of itself to whoever asks how it is, and what it wants to see: TLS 1.3 with certificates of one
//! authority on both sides. The authority signs for clients only the operator, so nobody else is answered.

use crate::configuration::CertificateFiles;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::sync::Arc;

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

/// The server's side of connections.
pub fn server_config(files: &CertificateFiles) -> Result<Arc<ServerConfig>, CertificateError> {
    let CertificateFiles { certificate, key, authority } = files;
    let provider = Arc::new(default_provider());
    let mut authorities = RootCertStore::empty();
    for trusted in certificates("the authority's certificate", authority)? {
        authorities.add(trusted).map_err(problem("the authority's certificate"))?;
    }
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(&provider))
        .build()
        .map_err(problem("the authority's certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(not_pem("the key"))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(problem("TLS 1.3"))?
        .with_client_cert_verifier(clients)
        .with_single_cert(certificates("the certificate", certificate)?, key)
        .map_err(problem("the certificate and its key"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(not_pem(what))
}
