//! HTTPS as a client of the service speaks it: what it is shown, and what it gets.

use anyhow::Context as _;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use sha2::{Digest as _, Sha256};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Longest silence of the other side, seconds.
const SILENCE_SECONDS: u64 = 20;

/// Who asks: whom it believes, under which name it knows the service, and where that is.
pub struct Https {
    config: Arc<ClientConfig>,
    name: String,
    address: SocketAddr,
}

/// What came back.
pub struct Shown {
    /// The status of the answer.
    pub status: u16,
    /// SHA-256 of the certificate that was shown.
    pub fingerprint: String,
}

impl Https {
    /// Believes one authority, PEM, and speaks TLS 1.3.
    pub fn new(authority: &str, name: &str, address: SocketAddr) -> anyhow::Result<Self> {
        Self::speaking(&rustls::version::TLS13, authority, name, address)
    }

    /// The same with another version.
    pub fn speaking(
        version: &'static SupportedProtocolVersion,
        authority: &str,
        name: &str,
        address: SocketAddr,
    ) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).context("no authority")?)?;
        let provider = Arc::new(default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&provider)).build()?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])?
            .with_webpki_verifier(verifier)
            .with_no_client_auth();
        Ok(Self { config: Arc::new(config), name: name.to_owned(), address })
    }

    /// Asks for something over a connection of its own.
    pub fn get(&self, path: &str, token: &str) -> anyhow::Result<Shown> {
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n",
            self.name
        );
        let (answer, fingerprint) = self.exchange(&head)?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
        Ok(Shown { status, fingerprint })
    }

    /// Asks for a token.
    pub fn token(&self, id: &str, secret: &str) -> anyhow::Result<String> {
        let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
        let head = format!(
            "POST /oauth/token HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{form}",
            self.name,
            form.len()
        );
        let (answer, _) = self.exchange(&head)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
        let body: serde_json::Value = serde_json::from_str(body).with_context(|| answer.clone())?;
        Ok(body["access_token"].as_str().context("no token")?.to_owned())
    }

    /// What comes back, and the SHA-256 of the certificate that was shown.
    fn exchange(&self, request: &str) -> anyhow::Result<(String, String)> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(SILENCE_SECONDS)))?;
        let name = ServerName::try_from(self.name.clone())?;
        let mut stream = StreamOwned::new(ClientConnection::new(Arc::clone(&self.config), name)?, stream);
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answer) {
            // A forwarded connection ends without a goodbye.
            anyhow::ensure!(!answer.is_empty(), "{error}");
        }
        let shown = stream.conn.peer_certificates().and_then(<[_]>::first).context("no certificate")?;
        let digits = Sha256::digest(shown).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((String::from_utf8_lossy(&answer).into_owned(), digits))
    }
}
