//! The client that the operator registers for the service.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// A client's identifier and the hash of its secret. The secret has 256 random bits, so a plain hash
/// resists guessing; passwords of people would need a slow one.
pub struct Client {
    id: String,
    secret_hash: [u8; 32],
}

impl Client {
    /// A client whose secret is known now and forgotten after.
    pub fn new(id: &str, secret: &str) -> Self {
        Self { id: id.to_owned(), secret_hash: Sha256::digest(secret).into() }
    }

    /// Whether both match. Takes the same time whichever of them is wrong.
    pub fn matches(&self, id: &str, secret: &str) -> bool {
        let offered: [u8; 32] = Sha256::digest(secret).into();
        let known_id: [u8; 32] = Sha256::digest(&self.id).into();
        let offered_id: [u8; 32] = Sha256::digest(id).into();
        bool::from(offered.ct_eq(&self.secret_hash) & offered_id.ct_eq(&known_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_pair_matches() {
        let client = Client::new("app", "s3cret");
        assert!(client.matches("app", "s3cret"));
        assert!(!client.matches("app", "s3cret "));
        assert!(!client.matches("App", "s3cret"));
        assert!(!client.matches("", ""));
    }
}
