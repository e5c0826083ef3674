//! What a replica says of its configuration: the answer on the port that only the operator may ask.

use crate::served::Served;
use serde::{Deserialize, Serialize};

/// Path of the answer.
pub const STATUS_PATH: &str = "/status";
/// Longest answer, bytes.
pub const MAX_ACKNOWLEDGEMENT_BYTES: usize = 16 * 1024;
/// Longest reason of a refusal, characters.
const MAX_REASON_CHARACTERS: usize = 1_000;

/// What a replica applied, and what it refused since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledgement {
    /// Revision of the bundle that serves.
    pub revision: String,
    /// SHA-256 of its policy's canonical form, lower-case hexadecimal.
    pub hash: String,
    /// Hash of the clients that are let in, lower-case hexadecimal; empty if the replica does not say.
    #[serde(default)]
    pub clients: String,
    /// SHA-256 of the certificate that clients are shown, lower-case hexadecimal; nothing where nothing is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// What the policy beside it would do otherwise, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowAcknowledgement>,
    /// What it served; nothing if the replica does not say.
    #[serde(default)]
    pub served: Served,
    /// Whether it counts together with others in the store; nothing where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreAcknowledgement>,
    /// When all that was applied, seconds since 1970.
    pub applied_at: u64,
    /// Why the newest configuration does not serve, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// What a replica saw of a policy that it only compares with the one that serves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShadowAcknowledgement {
    /// Its revision; empty if it was refused.
    pub revision: String,
    /// SHA-256 of its canonical form, lower-case hexadecimal; empty if it was refused.
    pub hash: String,
    /// Comparisons since the configuration was applied: one for each request, and for a synthesis another one.
    pub comparisons: u64,
    /// Those of them in which it differed.
    pub differences: u64,
    /// Why it was refused, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl ShadowAcknowledgement {
    /// Of a policy that is refused, for a reason that is cut to its limit.
    pub fn refusal(reason: &str) -> Self {
        Self { refused: Some(reason.chars().take(MAX_REASON_CHARACTERS).collect()), ..Self::default() }
    }
}

/// How a replica stands with the store in which replicas count together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreAcknowledgement {
    /// Why it does not answer, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl StoreAcknowledgement {
    /// Of one that does not answer, for a reason that is cut to its limit.
    pub fn trouble(reason: &str) -> Self {
        Self { trouble: Some(reason.chars().take(MAX_REASON_CHARACTERS).collect()) }
    }
}

/// A configuration that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// What is wrong with it.
    pub reason: String,
    /// When it was refused, seconds since 1970.
    pub at: u64,
}

impl Refused {
    /// A refusal whose reason is cut to its limit.
    pub fn new(reason: &str, at: u64) -> Self {
        Self { reason: reason.chars().take(MAX_REASON_CHARACTERS).collect(), at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::served::SERVED_WITHIN_MILLISECONDS;

    #[test]
    fn the_longest_answer_keeps_its_limit() {
        let refused = Refused::new(&"\u{1F600}".repeat(5_000), u64::MAX);
        let (revision, hash) = ("18446744073709551615-0123456789ab".into(), "0".repeat(64));
        let shadow = ShadowAcknowledgement {
            revision: "18446744073709551615-0123456789ab".into(),
            hash: "0".repeat(64),
            comparisons: u64::MAX,
            differences: u64::MAX,
            ..ShadowAcknowledgement::refusal(&"\u{1F600}".repeat(5_000))
        };
        let (clients, certificate) = (crate::Clients::default().hash(), Some("0".repeat(64)));
        let longest = Acknowledgement {
            revision,
            hash,
            clients,
            certificate,
            shadow: Some(shadow),
            served: Served {
                requests: u64::MAX,
                failed: u64::MAX,
                within: vec![u64::MAX; SERVED_WITHIN_MILLISECONDS.len()],
            },
            store: Some(StoreAcknowledgement::trouble(&"\u{1F600}".repeat(5_000))),
            applied_at: u64::MAX,
            refused: Some(refused),
        };
        let text = serde_json::to_string(&longest).unwrap();
        assert!(text.len() < MAX_ACKNOWLEDGEMENT_BYTES, "{}", text.len());
        assert_eq!(serde_json::from_str::<Acknowledgement>(&text).unwrap(), longest);
    }
}
