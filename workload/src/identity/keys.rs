//! RSA keys: the newest signs, all verify, and their public halves are published (RFC 7517).

use aws_lc_rs::rsa::KeyPair;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use std::collections::BTreeMap;

/// The only algorithm that is ever signed with or accepted.
pub(crate) const ALGORITHM: Algorithm = Algorithm::RS256;

/// Why a key cannot be used. Never shows key material.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file is not a private RSA key.
    #[error("{file}: is not a PKCS#8 RSA private key in PEM")]
    NotRsa {
        /// The file's name.
        file: String,
    },
    /// There is none.
    #[error("there is no signing key")]
    Empty,
}

/// A set of keys.
pub struct SigningKeys {
    signing_kid: String,
    signing: EncodingKey,
    verifying: BTreeMap<String, DecodingKey>,
    published: JwkSet,
}

impl SigningKeys {
    /// Reads PEM files by name; the name that sorts last signs. A key's `kid` is its RFC 7638 thumbprint.
    pub fn from_pem_files(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, KeyError> {
        let mut verifying = BTreeMap::new();
        let mut published = JwkSet { keys: Vec::new() };
        let mut signing = None;
        for (file, pem) in files {
            let key = read(pem).ok_or_else(|| KeyError::NotRsa { file: file.clone() })?;
            let (kid, jwk, decoding) =
                public_half(&key).ok_or_else(|| KeyError::NotRsa { file: file.clone() })?;
            published.keys.push(jwk);
            verifying.insert(kid.clone(), decoding);
            signing = Some((kid, key));
        }
        let (signing_kid, signing) = signing.ok_or(KeyError::Empty)?;
        Ok(Self { signing_kid, signing, verifying, published })
    }

    /// What `/.well-known/jwks.json` shows.
    pub fn published(&self) -> &JwkSet {
        &self.published
    }

    pub(crate) fn signing(&self) -> (&str, &EncodingKey) {
        (&self.signing_kid, &self.signing)
    }

    pub(crate) fn verifying(&self, kid: &str) -> Option<&DecodingKey> {
        self.verifying.get(kid)
    }
}

fn read(pem: &[u8]) -> Option<EncodingKey> {
    // The reader of the token library takes PKCS#1 too, and reports a bad key only when it signs.
    let key = EncodingKey::from_rsa_pem(pem).ok()?;
    KeyPair::from_der(key.as_bytes()).ok().map(|_| key)
}

fn public_half(key: &EncodingKey) -> Option<(String, Jwk, DecodingKey)> {
    let mut jwk = Jwk::from_encoding_key(key, ALGORITHM).ok()?;
    let kid = jwk.thumbprint(ThumbprintHash::SHA256).ok()?;
    jwk.common.key_id = Some(kid.clone());
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    Some((kid, jwk, decoding))
}
