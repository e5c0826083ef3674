//! What the decision needs besides what was seen: new secrets, where one is missing.

use crate::reconcile::child::Child;
use crate::reconcile::observe::Observed;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use codecrucible_contract::layout;

/// New secrets; none where one exists already. Without `Debug`.
pub(crate) struct Facts {
    /// PKCS#8 in PEM.
    pub(crate) signing_key_pem: Option<String>,
    /// The client's secret.
    pub(crate) client_secret: Option<String>,
}

/// The system gave no randomness, or the library failed.
#[derive(Debug, thiserror::Error)]
#[error("key generation failed")]
pub struct FactsError;

impl Facts {
    /// Makes what is missing. A key takes a while to find, so it is made only then.
    pub(crate) fn gather(observed: &Observed) -> Result<Self, FactsError> {
        let has = |child, key| observed.data(child, key).is_some_and(|value| !value.is_empty());
        let needs_key = !has(Child::SigningKeys, layout::FIRST_SIGNING_KEY_FILE);
        let needs_secret = !has(Child::Client, layout::CLIENT_SECRET_FILE);
        Ok(Self {
            signing_key_pem: needs_key.then(signing_key_pem).transpose()?,
            client_secret: needs_secret.then(client_secret).transpose()?,
        })
    }

    #[cfg(test)]
    pub(super) fn fixed() -> Self {
        let pem = "-----BEGIN PRIVATE KEY-----".to_owned();
        Self { signing_key_pem: Some(pem), client_secret: Some("fixed-secret".into()) }
    }
}

/// A new 2048-bit RSA key (RFC 7468).
fn signing_key_pem() -> Result<String, FactsError> {
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| FactsError)?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| FactsError)?;
    let text = STANDARD.encode(der.as_ref());
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    Ok(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n")))
}

/// 256 random bits.
fn client_secret() -> Result<String, FactsError> {
    let mut bytes = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| FactsError)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
