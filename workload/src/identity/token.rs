//! Access tokens: JWTs of the profile RFC 9068, signed with RS256.
//!
//! What a token's header says about keys is ignored except for `kid`, which picks one of our own. Tokens
//! that verified once are remembered by their hash until they expire, because a signature check costs
//! more than the rest of a small request.

use super::keys::{ALGORITHM, SigningKeys};
use codecrucible_contract::secrets::{self, SecretError};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Media type of an access token (RFC 9068, section 2.1).
const TOKEN_TYPE: &str = "at+jwt";
/// Most verified tokens that are remembered.
const REMEMBERED_TOKENS: u64 = 10_000;
/// Longest token that is looked at, bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Tolerated difference between clocks, seconds.
const LEEWAY_SECONDS: u64 = 30;

/// Who a verified token speaks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Principal {
    /// `sub`.
    pub subject: String,
    /// Which secret it was had with.
    pub credential: String,
    issued_at: u64,
    not_before: u64,
    expires_at: u64,
}

impl Principal {
    /// Somebody whom the service itself speaks for, as if a token was had now.
    pub fn spoken_for(subject: &str, credential: &str, now: SystemTime) -> Self {
        let now = seconds_since_epoch(now);
        let (subject, credential) = (subject.to_owned(), credential.to_owned());
        Self { subject, credential, issued_at: now, not_before: now, expires_at: now }
    }

    /// How long ago the token was issued.
    pub fn age(&self, now: SystemTime) -> Duration {
        Duration::from_secs(seconds_since_epoch(now).saturating_sub(self.issued_at))
    }

    fn check_time(&self, now: u64) -> Result<(), TokenError> {
        if now >= self.expires_at.saturating_add(LEEWAY_SECONDS) {
            return Err(TokenError::Expired);
        }
        if now.saturating_add(LEEWAY_SECONDS) < self.not_before {
            return Err(TokenError::Invalid);
        }
        Ok(())
    }
}

/// A token and its life in seconds.
#[derive(Debug)]
pub struct IssuedToken {
    /// The JWT.
    pub token: String,
    /// Seconds until it expires.
    pub expires_in: u32,
}

/// Why a token is not accepted. The text is shown to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No token came with the request.
    #[error("a bearer token is required")]
    Missing,
    /// Not a JWT of our profile, or signed by nobody that we know.
    #[error("the access token is not valid")]
    Invalid,
    /// It was valid once.
    #[error("the access token has expired")]
    Expired,
    /// Of a client that is no longer let in, or has another secret now.
    #[error("the access token's client is not registered, or has another secret now")]
    UnknownClient,
    /// Another service's token.
    #[error("the access token was issued by or for another service")]
    WrongService,
}

/// Why no token could be issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// A token's identifier is random.
    #[error(transparent)]
    Randomness(#[from] SecretError),
    /// The library failed.
    #[error("the token could not be signed")]
    Signature,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    client_id: String,
    /// Of ours: tells one secret of a client from another one.
    #[serde(default)]
    credential: String,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: String,
}

/// Issues and verifies the tokens of one service under one set of keys.
pub struct TokenAuthority {
    keys: SigningKeys,
    issuer: String,
    audience: String,
    life_seconds: u32,
    validation: Validation,
    verified: moka::sync::Cache<[u8; 32], Arc<Principal>>,
}

impl TokenAuthority {
    /// An authority for one issuer and audience.
    pub fn new(keys: SigningKeys, identity: &codecrucible_contract::Identity) -> Self {
        let mut validation = Validation::new(ALGORITHM);
        // Times are checked here, with the clock that is handed in, for new and remembered tokens alike.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.set_issuer(&[&identity.issuer]);
        validation.set_audience(&[&identity.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp", "nbf"]);
        Self {
            keys,
            issuer: identity.issuer.clone(),
            audience: identity.audience.clone(),
            life_seconds: identity.access_token_seconds,
            validation,
            verified: moka::sync::Cache::new(REMEMBERED_TOKENS),
        }
    }

    /// The keys that verify.
    pub fn keys(&self) -> &SigningKeys {
        &self.keys
    }

    /// A token for a client that has proved who it is, with the secret that `credential` tells from others.
    pub fn issue(
        &self,
        client_id: &str,
        credential: &str,
        now: SystemTime,
    ) -> Result<IssuedToken, IssueError> {
        let now = seconds_since_epoch(now);
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: client_id.to_owned(),
            client_id: client_id.to_owned(),
            credential: credential.to_owned(),
            iat: now,
            nbf: now,
            exp: now + u64::from(self.life_seconds),
            jti: secrets::random_token()?,
        };
        let (kid, key) = self.keys.signing();
        let mut header = Header::new(ALGORITHM);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(kid.to_owned());
        let token = encode(&header, &claims, key).map_err(|_| IssueError::Signature)?;
        Ok(IssuedToken { token, expires_in: self.life_seconds })
    }

    /// Who a token speaks for.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Arc<Principal>, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        let hash: [u8; 32] = Sha256::digest(token).into();
        let principal = match self.verified.get(&hash) {
            Some(principal) => principal,
            None => {
                let principal = Arc::new(self.verify_signature(token)?);
                self.verified.insert(hash, principal.clone());
                principal
            }
        };
        principal.check_time(seconds_since_epoch(now))?;
        Ok(principal)
    }

    fn verify_signature(&self, token: &str) -> Result<Principal, TokenError> {
        let header = decode_header(token).map_err(|_| TokenError::Invalid)?;
        if header.alg != ALGORITHM || !header.typ.is_some_and(|typ| typ.eq_ignore_ascii_case(TOKEN_TYPE)) {
            return Err(TokenError::Invalid);
        }
        let key = header.kid.and_then(|kid| self.keys.verifying(&kid)).ok_or(TokenError::Invalid)?;
        let claims =
            decode::<Claims>(token, key, &self.validation).map_err(|error| refusal(error.kind()))?.claims;
        Ok(Principal {
            subject: claims.sub,
            credential: claims.credential,
            issued_at: claims.iat,
            not_before: claims.nbf,
            expires_at: claims.exp,
        })
    }
}

fn refusal(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience => TokenError::WrongService,
        _ => TokenError::Invalid,
    }
}

fn seconds_since_epoch(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::{Algorithm, EncodingKey};
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    /// The time of the tests.
    const NOW: u64 = 1_900_000_000;

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + std::time::Duration::from_secs(second)
    }

    fn keys(pem: &str) -> SigningKeys {
        SigningKeys::from_pem_files(&BTreeMap::from([("1.pem".to_owned(), pem.as_bytes().to_vec())])).unwrap()
    }

    fn authority(pem: &str) -> TokenAuthority {
        let identity = codecrucible_contract::Identity {
            issuer: "http://us".into(),
            audience: "us".into(),
            access_token_seconds: 900,
        };
        TokenAuthority::new(keys(pem), &identity)
    }

    struct Forge {
        pem: String,
        header: Value,
        claims: Value,
    }

    impl Forge {
        /// A token that would be accepted, to be spoilt in one respect.
        fn new() -> Self {
            let pem = secrets::signing_key_pem().unwrap();
            let kid = keys(&pem).signing().0.to_owned();
            let now = NOW;
            let claims = json!({"iss": "http://us", "aud": "us", "sub": "app", "client_id": "app",
                "iat": now, "nbf": now, "exp": now + 60, "jti": "1"});
            Self { pem, header: json!({"alg": "RS256", "typ": "at+jwt", "kid": kid}), claims }
        }

        fn verify(&self) -> Result<Arc<Principal>, TokenError> {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let message = format!("{}.{}", part(&self.header), part(&self.claims));
            let key = EncodingKey::from_rsa_pem(self.pem.as_bytes()).unwrap();
            let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::RS256).unwrap();
            authority(&self.pem).verify(&format!("{message}.{signature}"), at(NOW))
        }
    }

    #[test]
    fn an_issued_token_is_accepted_until_it_expires_also_when_it_is_remembered() {
        let authority = authority(&secrets::signing_key_pem().unwrap());
        let token = authority.issue("app", "c", at(NOW)).unwrap().token;
        let last = NOW + 900 + LEEWAY_SECONDS - 1;
        for moment in [NOW, NOW + 1, last] {
            assert_eq!(authority.verify(&token, at(moment)).unwrap().subject, "app");
        }
        assert_eq!(authority.verify(&token, at(last + 1)), Err(TokenError::Expired));
    }

    #[test]
    fn the_unspoilt_forgery_is_accepted() {
        assert_eq!(Forge::new().verify().unwrap().subject, "app");
    }

    #[test]
    fn tokens_of_another_time_or_service_are_told_apart() {
        let spoilt = |claim: &str, value: Value| {
            let mut forge = Forge::new();
            forge.claims[claim] = value;
            forge.verify().unwrap_err()
        };
        let now = NOW;
        assert_eq!(spoilt("exp", json!(now - 31)), TokenError::Expired);
        assert_eq!(spoilt("nbf", json!(now + 300)), TokenError::Invalid);
        assert_eq!(spoilt("iss", json!("http://them")), TokenError::WrongService);
        assert_eq!(spoilt("aud", json!("them")), TokenError::WrongService);
    }

    #[test]
    fn every_required_claim_is_required() {
        for claim in ["iss", "aud", "sub", "exp", "nbf"] {
            let mut forge = Forge::new();
            forge.claims.as_object_mut().unwrap().remove(claim);
            assert!(forge.verify().is_err(), "{claim}");
        }
    }

    #[test]
    fn other_headers_are_refused() {
        for (field, value) in [
            ("alg", json!("none")),
            ("alg", json!("HS256")),
            ("alg", json!("RS512")),
            ("typ", json!("JWT")),
            ("kid", json!("x")),
        ] {
            let mut forge = Forge::new();
            forge.header[field] = value;
            assert_eq!(forge.verify(), Err(TokenError::Invalid), "{field}");
        }
    }

    #[test]
    fn a_key_in_the_header_is_ignored() {
        let mut forge = Forge::new();
        let own = keys(&forge.pem).published().keys[0].clone();
        // Signed by a foreign key that travels along; the kid is one of ours.
        forge.pem = secrets::signing_key_pem().unwrap();
        forge.header["jwk"] = serde_json::to_value(&keys(&forge.pem).published().keys[0]).unwrap();
        forge.header["kid"] = json!(own.common.key_id);
        assert_eq!(forge.verify(), Err(TokenError::Invalid));
    }

    #[test]
    fn a_public_key_is_no_secret_for_hs256() {
        let pem = secrets::signing_key_pem().unwrap();
        let authority = authority(&pem);
        let jwk = serde_json::to_string(authority.keys().published()).unwrap();
        let now = NOW;
        let claims = json!({"iss": "http://us", "aud": "us", "sub": "app", "client_id": "app", "iat": now, "nbf": now, "exp": now + 60, "jti": "1"});
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some("at+jwt".into());
        header.kid = Some(authority.keys().signing().0.to_owned());
        let token = encode(&header, &claims, &EncodingKey::from_secret(jwk.as_bytes())).unwrap();
        assert_eq!(authority.verify(&token, at(NOW)), Err(TokenError::Invalid));
    }

    #[test]
    fn texts_that_are_no_tokens_are_refused() {
        let authority = authority(&secrets::signing_key_pem().unwrap());
        for text in ["", ".", "..", "a.b.c", &"x".repeat(MAX_TOKEN_BYTES + 1)] {
            assert_eq!(authority.verify(text, at(NOW)), Err(TokenError::Invalid));
        }
    }
}
