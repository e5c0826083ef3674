//! What backends and clients speak, where they do not speak the same. A request is read into a [`Chat`], and written as the backend speaks;
//! its answer is read into an [`Answer`], or piece by piece into [`Delta`]s, and written as the client speaks. So each dialect is known to its
//! own folder alone, and nobody translates between two of them. Where client and backend speak the same, none of this is used: bytes pass.

mod answer;
pub mod anthropic;
mod chat;
mod content;
pub mod embedded;
mod function_tool;
pub mod ollama;
pub mod openai;
pub mod responses;

pub use answer::{Answer, AnswerReader, Delta, Head, NoAnswer, StopReason, StreamWriter, Usage};
pub use chat::{Chat, FieldNames, Format, Image, Message, Part, Role, Sampling, Tool, ToolCall, ToolChoice};

use serde::Deserialize;

/// What a refusal says, in any of the dialects; nothing where it is in none of them.
pub fn refusal_message(document: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Error {
        Text(String),
        Object { message: String },
    }
    #[derive(Deserialize)]
    struct Document {
        error: Error,
    }
    let Document { error: Error::Text(message) | Error::Object { message } } =
        serde_json::from_slice(document).ok()?;
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_whoever_says_it() {
        let said = |document: &str| refusal_message(document.as_bytes());
        for document in [
            r#"{"error":{"message":"no","type":"invalid_request_error","param":null,"code":null}}"#,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"no"},"request_id":"r"}"#,
            r#"{"error":"no"}"#,
        ] {
            assert_eq!(said(document).as_deref(), Some("no"), "{document}");
        }
        assert_eq!(said(r#"{"detail":"Not Found"}"#), None);
    }
}
