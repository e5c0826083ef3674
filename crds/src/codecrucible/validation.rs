//! What is looked at in requests and answers before they go on.

use serde::{Deserialize, Serialize};

/// What is looked at in requests and answers before they go on.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Validation {
    /// Secrets that clients send without meaning to, and that models answer; nothing is looked for, if it is not given. In place of each stands `[REDACTED:NAME]`; no
    /// request is refused for one. Always looked for are IDs of AWS access keys, API keys and tokens of Google, GitHub, GitLab, npm, Slack, Stripe and of model APIs,
    /// JSON Web Tokens, and private keys in PEM; not what has no shape of its own, such as passwords and AWS secret keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretRedaction>,
}

/// What becomes of secrets in requests and in answers.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SecretRedaction {
    /// Whether they are taken out of requests, or only told of: in the header `x-codecrucible-redacted` if they are taken out, in the log and in metrics.
    pub mode: SecretMode,
    /// Whether they are taken out of what models answer, whole or in a stream, or only told of, in the log and in metrics; answers are not looked at, if it is not
    /// given. When they are taken out, what may be the beginning of one waits until that is known, and the stream's events behind it: up to 16 KiB of text, or
    /// 1 MiB of events, beyond which it passes. Embeddings and `logprobs` are not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<SecretMode>,
    /// What is looked for beside what always is.
    #[schemars(length(max = 32))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<SecretPattern>,
}

/// Whether secrets are taken out.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum SecretMode {
    #[default]
    Enforce,
    Shadow,
}

/// What a secret looks like.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretPattern {
    /// Unique name, which stands in its place.
    #[schemars(length(min = 1, max = 40), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// A regular expression of Rust's crate `regex` in ASCII, without looking around and references back, of at least 4 bytes, such as `BADGE-[0-9]{6}`. It is
    /// looked for in each string as JSON writes it, with `\\n` for the end of a line. In a tool's arguments quotes and ends of
    /// lines are escaped twice, so name characters instead of taking all that are not space.
    #[schemars(length(min = 1, max = 1024))]
    pub pattern: String,
}
