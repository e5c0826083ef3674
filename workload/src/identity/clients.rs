//! The clients that are let in: the one that the operator makes for each service, and those of applications.

use crate::configuration::ClientFiles;
use codecrucible_contract::{Clients, sha256_hex};
use std::collections::HashMap;
use subtle::ConstantTimeEq as _;

/// Length of a SHA-256, hexadecimal digits.
const HASH_DIGITS: usize = 64;

/// Digits of a hash that tell a secret from others.
const CREDENTIAL_DIGITS: usize = 16;

/// Clients by their identifiers, with the hashes of their secrets. Secrets have 256 random bits, so a plain hash
/// resists guessing; passwords of people would need a slow one.
pub struct KnownClients {
    secrets: HashMap<String, String>,
    registered_hash: String,
}

impl From<&ClientFiles> for KnownClients {
    fn from(ClientFiles { id, secret, registered }: &ClientFiles) -> Self {
        Self::new(id, secret, registered)
    }
}

impl KnownClients {
    /// The service's own client, whose secret is known now and forgotten after, and the registered ones.
    pub fn new(id: &str, secret: &str, registered: &Clients) -> Self {
        let mut secrets: HashMap<_, _> =
            registered.iter().map(|(id, hash)| (id.to_owned(), hash.to_owned())).collect();
        secrets.insert(id.to_owned(), sha256_hex(secret));
        Self { secrets, registered_hash: registered.hash() }
    }

    /// Whether there is a client of this identifier, and this is its secret. Identifiers are public; of secrets, every
    /// wrong one takes the same time, and so does one of a client that does not exist.
    pub fn matches(&self, id: &str, secret: &str) -> bool {
        const NOBODYS: &str = "................................................................";
        const { assert!(NOBODYS.len() == HASH_DIGITS) };
        let known = self.secrets.get(id).map_or(NOBODYS, String::as_str);
        sha256_hex(secret).as_bytes().ct_eq(known.as_bytes()).into()
    }

    /// What tells a client's secret from others, and nothing else of it: the beginning of its hash.
    pub fn credential(&self, id: &str) -> Option<&str> {
        self.secrets.get(id)?.get(..CREDENTIAL_DIGITS)
    }

    /// The hash of the registered ones, as it is acknowledged.
    pub fn registered_hash(&self) -> &str {
        &self.registered_hash
    }
}

/// The namespace in which a client's `SynthesisClient` is, as its identifier tells; the service's own client has none in its name.
pub fn namespace_of<'a>(client: &'a str, own: &'a str) -> &'a str {
    client.split_once('.').map_or(own, |(namespace, _)| namespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecrucible_contract::RegisteredClient;

    #[test]
    fn only_the_right_pairs_match() {
        let registered = RegisteredClient { id: "team.app".into(), secret_sha256: sha256_hex("other") };
        let clients = KnownClients::new("demo", "s3cret", &Clients::new([registered]).unwrap());
        assert!(clients.matches("demo", "s3cret") && clients.matches("team.app", "other"));
        for (id, secret) in [
            ("demo", "s3cret "),
            ("demo", "other"),
            ("Demo", "s3cret"),
            ("team.app", ""),
            ("", ""),
            ("x", "other"),
        ] {
            assert!(!clients.matches(id, secret), "{id} {secret}");
        }
        assert_eq!(clients.credential("team.app"), sha256_hex("other").get(..16));
        assert_eq!(clients.credential("team"), None);
    }
}
