//! The bundle: a policy with the revision that names its content.

use crate::access::Access;
use crate::canonical::canonical;
use crate::hash::sha256_hex;
use crate::packing::{MAX_PACKED_BYTES, Packed};
use crate::policy::Policy;
use crate::validate::Invalid;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt;
use std::str::FromStr;

/// The format that this build reads and writes.
pub const FORMAT: &str = "codecrucible.dev/bundle.v1";
/// Largest bundle, bytes. How large it may be when it is handed out is told by [`crate::MAX_PACKED_BYTES`].
pub const MAX_BUNDLE_BYTES: usize = 4 * 1024 * 1024;
/// How much of the hash a revision shows, hexadecimal digits.
const REVISION_HASH_DIGITS: usize = 12;

/// A validated policy and its content address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    revision: Revision,
    hash: String,
    policy: Policy,
}

/// `<counter>-<first digits of the hash>`: ordered for people, verifiable for machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Rises by one with each new policy of a resource.
    pub counter: u64,
    /// The first digits of the policy's hash.
    pub hash_prefix: String,
}

/// Why a document is not a bundle.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Larger than [`MAX_BUNDLE_BYTES`].
    #[error("the bundle has {bytes} bytes, more than the limit of {MAX_BUNDLE_BYTES} bytes")]
    TooLarge {
        /// The size found.
        bytes: usize,
    },
    /// Compressed, and larger than [`crate::MAX_PACKED_BYTES`] all the same.
    #[error("the compressed bundle has {bytes} bytes, more than the limit of {MAX_PACKED_BYTES} bytes")]
    TooLargePacked {
        /// The size found.
        bytes: usize,
    },
    /// Not JSON, cut short, or not of the bundle's shape.
    #[error("the bundle does not parse: {0}")]
    Syntax(String),
    /// Written by a version that this build does not know.
    #[error("the bundle has format {found:?}; this build reads {FORMAT:?}")]
    UnknownFormat {
        /// The format found.
        found: String,
    },
    /// The content is not what the revision names.
    #[error("the bundle's content has hash {actual}, but its revision is {revision}")]
    HashMismatch {
        /// The revision found.
        revision: String,
        /// The hash of what came with it.
        actual: String,
    },
    /// A value breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl Bundle {
    /// Names a policy. The counter of `previous` is kept when the content is the same.
    pub fn compile(policy: Policy, previous: Option<&Revision>) -> Result<Self, BundleError> {
        policy.validate()?;
        let hash = hash_of(&to_value(&policy)?);
        let hash_prefix = hash[..REVISION_HASH_DIGITS].to_owned();
        let counter = match previous {
            Some(previous) if previous.hash_prefix == hash_prefix => previous.counter,
            Some(previous) => previous.counter.saturating_add(1),
            None => 1,
        };
        let bundle = Self { revision: Revision { counter, hash_prefix }, hash, policy };
        let json = bundle.to_json();
        if json.len() > MAX_BUNDLE_BYTES {
            return Err(BundleError::TooLarge { bytes: json.len() });
        }
        Packed::new(json)?;
        Ok(bundle)
    }

    /// The same policy with other rules of who may do what.
    pub fn with_access(
        &self,
        access: Option<&Access>,
        previous: Option<&Revision>,
    ) -> Result<Self, BundleError> {
        if self.policy.access.as_ref() == access {
            return Ok(self.clone());
        }
        Self::compile(Policy { access: access.cloned(), ..self.policy.clone() }, previous)
    }

    /// Reads a document; everything that [`Bundle::compile`] promises is checked again.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > MAX_BUNDLE_BYTES {
            return Err(BundleError::TooLarge { bytes: bytes.len() });
        }
        let header: Header = serde_json::from_slice(bytes).map_err(syntax)?;
        if header.format != FORMAT {
            return Err(BundleError::UnknownFormat { found: header.format.chars().take(64).collect() });
        }
        let document: Document = serde_json::from_slice(bytes).map_err(syntax)?;
        let revision: Revision = document
            .revision
            .parse()
            .map_err(|()| BundleError::Syntax("revision: not of the form N-HASH".into()))?;
        let hash = hash_of(&document.policy);
        if hash[..REVISION_HASH_DIGITS] != revision.hash_prefix {
            return Err(BundleError::HashMismatch { revision: revision.to_string(), actual: hash });
        }
        let policy: Policy = serde_json::from_value(document.policy).map_err(syntax)?;
        policy.validate()?;
        Ok(Self { revision, hash, policy })
    }

    /// The document as it is written.
    pub fn to_json(&self) -> String {
        // A policy that compiled serialises; the fallback cannot be reached and would not parse.
        let policy = to_value(&self.policy).unwrap_or(Value::Null);
        canonical(&json!({"format": FORMAT, "revision": self.revision.to_string(), "policy": policy}))
    }

    /// The revision.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// SHA-256 of the policy's canonical form, lower-case hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.counter, self.hash_prefix)
    }
}

impl FromStr for Revision {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (counter, hash_prefix) = text.split_once('-').ok_or(())?;
        let is_hash = hash_prefix.len() == REVISION_HASH_DIGITS
            && hash_prefix.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !is_hash {
            return Err(());
        }
        Ok(Self { counter: counter.parse().map_err(|_| ())?, hash_prefix: hash_prefix.to_owned() })
    }
}

/// Read first, so that a newer format is told from a broken document.
#[derive(Deserialize)]
struct Header {
    format: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "format")]
    _format: String,
    revision: String,
    policy: Value,
}

fn to_value(policy: &Policy) -> Result<Value, BundleError> {
    serde_json::to_value(policy).map_err(syntax)
}

fn hash_of(policy: &Value) -> String {
    sha256_hex(canonical(policy))
}

#[allow(clippy::needless_pass_by_value, reason = "the signature that map_err wants")]
fn syntax(error: serde_json::Error) -> BundleError {
    BundleError::Syntax(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::tests::sample_policy;

    fn sample() -> Bundle {
        Bundle::compile(sample_policy(), None).unwrap()
    }

    #[test]
    fn a_bundle_reads_back_as_it_was_written() {
        assert_eq!(Bundle::parse(sample().to_json().as_bytes()).unwrap(), sample());
    }

    #[test]
    fn the_counter_rises_only_when_the_content_changes() {
        let first = sample();
        let same = Bundle::compile(sample_policy(), Some(first.revision())).unwrap();
        assert_eq!(same.revision(), first.revision());

        let mut changed = sample_policy();
        changed.synthesis.max_tokens_per_voice += 1;
        let second = Bundle::compile(changed, Some(first.revision())).unwrap();
        assert_eq!((first.revision().counter, second.revision().counter), (1, 2));
        assert_ne!(first.hash(), second.hash());
    }

    #[test]
    fn a_truncated_bundle_is_refused_at_every_length() {
        let json = sample().to_json();
        for length in 0..json.len() {
            let refused = Bundle::parse(&json.as_bytes()[..length]);
            assert!(matches!(refused, Err(BundleError::Syntax(_))), "length {length}: {refused:?}");
        }
    }

    #[test]
    fn an_unknown_format_is_named() {
        let json = sample().to_json().replace("bundle.v1", "bundle.v9");
        let error = Bundle::parse(json.as_bytes()).unwrap_err();
        assert_eq!(error, BundleError::UnknownFormat { found: "codecrucible.dev/bundle.v9".into() });
    }

    #[test]
    fn an_oversized_bundle_is_refused_with_the_limit() {
        let error = Bundle::parse(&vec![b' '; MAX_BUNDLE_BYTES + 1]).unwrap_err();
        assert_eq!(error, BundleError::TooLarge { bytes: MAX_BUNDLE_BYTES + 1 });
        assert!(error.to_string().contains("4194304 bytes"));
    }

    #[test]
    fn content_that_its_revision_does_not_name_is_refused() {
        let json = sample().to_json().replace("\"accessTokenSeconds\":900", "\"accessTokenSeconds\":901");
        assert!(matches!(Bundle::parse(json.as_bytes()), Err(BundleError::HashMismatch { .. })));
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let mut policy = serde_json::to_value(sample_policy()).unwrap();
        policy["identity"]["surprise"] = json!(1);
        let revision = format!("1-{}", &hash_of(&policy)[..12]);
        let json = json!({"format": FORMAT, "revision": revision, "policy": policy}).to_string();
        let error = Bundle::parse(json.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("surprise"), "{error}");
    }

    #[test]
    fn revisions_of_another_form_are_refused() {
        for text in ["", "1", "x-0123456789ab", "1-0123", "1-0123456789AB", "-1-0123456789ab"] {
            assert!(text.parse::<Revision>().is_err(), "{text}");
        }
    }
}
