//! The clients of applications that may ask for tokens: who they are, and the hashes by which their secrets are known.
//!
//! It travels beside the policy and not in it: to go back to an earlier policy must bring no client back.

use crate::canonical::canonical;
use crate::hash::sha256_hex;
use crate::validate::Invalid;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// The only format that this build reads.
const FORMAT: &str = "codecrucible.dev/clients.v1";
/// Most clients of one service.
pub const MAX_CLIENTS: usize = 1_000;
/// Longest identifier, bytes: a namespace, a dot and a name.
pub const MAX_CLIENT_ID_BYTES: usize = 63 + 1 + 253;
/// Largest document, bytes.
pub const MAX_CLIENTS_BYTES: usize = 512 * 1024;

/// The clients of one service, by their identifiers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients(BTreeMap<String, String>);

/// One client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegisteredClient {
    /// By which it names itself.
    pub id: String,
    /// SHA-256 of its secret, lower-case hexadecimal. A secret has 256 random bits, so its hash resists guessing.
    pub secret_sha256: String,
}

impl Clients {
    /// From clients in any order. Those past [`MAX_CLIENTS`], and any that is not one, are refused.
    pub fn new(clients: impl IntoIterator<Item = RegisteredClient>) -> Result<Self, Invalid> {
        let mut known = BTreeMap::new();
        for RegisteredClient { id, secret_sha256 } in clients {
            check(&id, &secret_sha256)?;
            if known.insert(id.clone(), secret_sha256).is_some() {
                return Err(invalid(format!("the client {id:?} occurs twice")));
            }
        }
        if known.len() > MAX_CLIENTS {
            return Err(invalid(format!("there are {} clients, more than {MAX_CLIENTS}", known.len())));
        }
        Ok(Self(known))
    }

    /// Reads a document; everything that [`Clients::new`] promises is checked again.
    pub fn parse(bytes: &[u8]) -> Result<Self, Invalid> {
        if bytes.len() > MAX_CLIENTS_BYTES {
            return Err(invalid(format!("has {} bytes, more than {MAX_CLIENTS_BYTES}", bytes.len())));
        }
        // What is wrong is told by its place alone: the document is not for everybody's eyes.
        let document: Document = serde_json::from_slice(bytes).map_err(|error| {
            invalid(format!("does not parse (line {}, column {})", error.line(), error.column()))
        })?;
        if document.format != FORMAT {
            return Err(invalid(format!("has another format than {FORMAT:?}")));
        }
        Self::new(document.clients)
    }

    /// The document as it is written.
    pub fn to_json(&self) -> String {
        let clients: Vec<_> =
            self.0.iter().map(|(id, hash)| json!({"id": id, "secretSha256": hash})).collect();
        canonical(&json!({"format": FORMAT, "clients": clients}))
    }

    /// SHA-256 of the document, lower-case hexadecimal.
    pub fn hash(&self) -> String {
        sha256_hex(self.to_json())
    }

    /// The hash of a client's secret, if there is such a client.
    pub fn secret_sha256(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }

    /// All of them: identifier, and hash of the secret.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(id, hash)| (id.as_str(), hash.as_str()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    clients: Vec<RegisteredClient>,
}

fn check(id: &str, secret_sha256: &str) -> Result<(), Invalid> {
    let is_id = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    if id.is_empty() || id.len() > MAX_CLIENT_ID_BYTES || !id.bytes().all(is_id) {
        return Err(invalid(format!(
            "an identifier is not 1 to {MAX_CLIENT_ID_BYTES} of a-z, 0-9, \".\" and \"-\""
        )));
    }
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if secret_sha256.len() != 64 || !secret_sha256.bytes().all(is_digit) {
        return Err(invalid(format!("the client {id:?} has no SHA-256 in lower-case hexadecimal")));
    }
    Ok(())
}

fn invalid(problem: String) -> Invalid {
    Invalid { path: "clients".into(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: &str) -> RegisteredClient {
        RegisteredClient { id: id.into(), secret_sha256: sha256_hex(id) }
    }

    #[test]
    fn clients_read_back_as_they_were_written_whatever_their_order() {
        let one = Clients::new([client("team.app"), client("other.app")]).unwrap();
        let other = Clients::new([client("other.app"), client("team.app")]).unwrap();
        assert_eq!((&one, one.hash()), (&other, other.hash()));
        assert_eq!(Clients::parse(one.to_json().as_bytes()).unwrap(), one);
        assert_eq!(one.secret_sha256("team.app"), Some(&*sha256_hex("team.app")));
        assert_ne!(Clients::default().hash(), one.hash());
    }

    #[test]
    fn what_is_no_client_is_refused() {
        assert!(Clients::new([client("a"), client("a")]).is_err());
        for id in ["", "A", "a b", &"x".repeat(MAX_CLIENT_ID_BYTES + 1)] {
            assert!(Clients::new([client(id)]).is_err(), "{id}");
        }
        let bare = RegisteredClient { id: "a".into(), secret_sha256: "plain secret".into() };
        let problem = Clients::new([bare]).unwrap_err().to_string();
        assert!(!problem.contains("plain secret"), "{problem}");
        assert!(Clients::new((0..=MAX_CLIENTS).map(|number| client(&number.to_string()))).is_err());
    }

    #[test]
    fn a_document_that_is_cut_short_or_of_another_format_is_refused() {
        let json = Clients::new([client("team.app")]).unwrap().to_json();
        assert!((0..json.len()).all(|length| Clients::parse(&json.as_bytes()[..length]).is_err()));
        assert!(Clients::parse(json.replace("clients.v1", "clients.v9").as_bytes()).is_err());
        assert!(Clients::parse(json.replace("\"id\"", "\"x\":1,\"id\"").as_bytes()).is_err());
        assert!(Clients::parse(&vec![b' '; MAX_CLIENTS_BYTES + 1]).is_err());
    }

    #[test]
    fn as_many_as_there_may_be_fit_the_document() {
        let longest = |number: usize| format!("{number:0>MAX_CLIENT_ID_BYTES$}");
        let clients = Clients::new((0..MAX_CLIENTS).map(|number| client(&longest(number)))).unwrap();
        assert!(clients.to_json().len() <= MAX_CLIENTS_BYTES);
    }
}
