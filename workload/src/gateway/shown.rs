//! What a chat shows of how hard it is, in either dialect: read for that alone, and leniently, since it is for backends to judge.

use crate::backend::Endpoint;
use crate::gateway::ModelRequest;
use crate::routing::Features;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What is looked at.
#[derive(Default, Deserialize)]
struct Chat<'a> {
    #[serde(borrow, default)]
    messages: Vec<Message<'a>>,
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

/// One part of a message.
#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: Option<String>,
}

/// What is shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shown {
    messages: usize,
    has_tools: bool,
    /// What the user said last that is text.
    last_words: String,
}

impl Shown {
    /// By a request; by one that is no chat, nothing.
    pub fn by(request: &ModelRequest) -> Self {
        if !matches!(request.endpoint, Endpoint::ChatCompletions | Endpoint::Messages) {
            return Self::default();
        }
        let chat: Chat<'_> = serde_json::from_str(request.text()).unwrap_or_default();
        let said = chat.messages.iter().rev().filter(|message| message.role.as_deref() == Some("user"));
        let last_words = said.filter_map(|message| text(message.content?)).next();
        Self {
            messages: chat.messages.len(),
            has_tools: chat.tools.is_some_and(|tools| !matches!(tools.get(), "[]" | "null")),
            last_words: last_words.unwrap_or_default(),
        }
    }

    /// With what else is known of the request.
    pub fn features(&self, request: &ModelRequest) -> Features<'_> {
        Features {
            prompt_tokens: request.estimated_prompt_tokens(),
            messages: self.messages,
            has_tools: self.has_tools,
            last_words: &self.last_words,
            effort: request.effort,
        }
    }
}

/// The last text of a content, which is one text or a list of parts.
fn text(content: &RawValue) -> Option<String> {
    serde_json::from_str(content.get()).ok().or_else(|| {
        let parts: Vec<Part> = serde_json::from_str(content.get()).ok()?;
        parts.into_iter().rev().find_map(|part| part.text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::Effort;
    use serde_json::{Value, json};

    fn request(mut document: Value, endpoint: Endpoint) -> ModelRequest {
        document["model"] = "auto".into();
        document["max_tokens"] = 9.into();
        ModelRequest::parse(endpoint, document.to_string().into()).unwrap()
    }

    #[test]
    fn the_last_text_of_the_user_and_whether_there_are_tools_are_seen_in_both_dialects() {
        let messages = json!([
            {"role": "user", "content": "First \"words\"."},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "1"}]},
            {"role": "user", "content": [{"type": "text", "text": "Last\nwords."}, {"type": "image_url", "image_url": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "content": "42"}]},
        ]);
        let document = json!({"messages": messages, "tools": [{"name": "look", "input_schema": {}}], "n": 2});
        for endpoint in [Endpoint::ChatCompletions, Endpoint::Messages] {
            let shown = Shown::by(&request(document.clone(), endpoint));
            assert_eq!(shown, Shown { messages: 4, has_tools: true, last_words: "Last\nwords.".into() });
        }
        let plain = json!({"messages": [{"role": "user", "content": "Hi"}], "tools": []});
        let shown = Shown::by(&request(plain, Endpoint::ChatCompletions));
        assert_eq!(shown, Shown { messages: 1, has_tools: false, last_words: "Hi".into() });
    }

    #[test]
    fn what_effort_a_client_wants_is_read_in_both_dialects() {
        let effort = |more: Value| {
            let mut document = json!({"messages": [{"role": "user", "content": "Hi"}]});
            document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            request(document, Endpoint::Messages).effort
        };
        assert_eq!(effort(json!({"reasoning_effort": "high"})), Some(Effort::Much));
        assert_eq!(effort(json!({"reasoning_effort": "minimal"})), Some(Effort::Little));
        assert_eq!(effort(json!({"reasoning_effort": "medium"})), None);
        assert_eq!(
            effort(json!({"thinking": {"type": "enabled", "budget_tokens": 1024}})),
            Some(Effort::Much)
        );
        assert_eq!(effort(json!({"thinking": {"type": "disabled"}})), None);
    }
}
