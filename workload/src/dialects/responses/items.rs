//! What an answer consists of here: thoughts, a message and calls, each an item.

use crate::dialects::{Head, StopReason, Usage};
use serde_json::{Value, json};

/// What an item is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Thoughts,
    Message,
    Call { id: String, name: String },
}

/// One of them, as far as it goes.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) id: String,
    text: String,
    pub(super) is_open: bool,
    pub(super) is_cut: bool,
}

impl Item {
    pub(super) fn new(kind: Kind, head: &Head, index: usize) -> Self {
        let prefix = match kind {
            Kind::Thoughts => "rs",
            Kind::Message => "msg",
            Kind::Call { .. } => "fc",
        };
        Self {
            kind,
            id: format!("{prefix}_{}_{index}", head.id),
            text: String::new(),
            is_open: true,
            is_cut: false,
        }
    }

    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Its only part, in which a text is; a call has none.
    pub(super) fn part(&self, text: &str) -> Option<Value> {
        match self.kind {
            Kind::Thoughts => Some(json!({"type": "reasoning_text", "text": text})),
            Kind::Message => {
                Some(json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []}))
            }
            Kind::Call { .. } => None,
        }
    }

    /// As it begins.
    pub(super) fn begun(&self) -> Value {
        self.document("in_progress", "", Vec::new())
    }

    /// As it is when it has ended; cut, where the answer was before it was whole.
    pub(super) fn ended(&self) -> Value {
        let status = if self.is_cut { "incomplete" } else { "completed" };
        self.document(status, &self.text, self.part(&self.text).into_iter().collect())
    }

    fn document(&self, status: &str, text: &str, content: Vec<Value>) -> Value {
        let id = &self.id;
        match &self.kind {
            Kind::Thoughts => {
                json!({"id": id, "type": "reasoning", "summary": [], "content": content, "status": status})
            }
            Kind::Message => {
                json!({"id": id, "type": "message", "role": "assistant", "content": content, "status": status})
            }
            Kind::Call { id: call, name } => {
                json!({"id": id, "type": "function_call", "call_id": call, "name": name, "arguments": text, "status": status})
            }
        }
    }
}

/// A response with what it consists of; while nothing is known of its end, one that is under way.
pub(super) fn response(head: &Head, output: Vec<Value>, end: Option<(StopReason, Usage)>) -> Value {
    let Head { id, created, model } = head;
    let reason = end.and_then(|(stop, _)| incomplete(stop));
    let status = match (end, reason) {
        (None, _) => "in_progress",
        (Some(_), None) => "completed",
        (Some(_), Some(_)) => "incomplete",
    };
    json!({
        "id": id, "object": "response", "created_at": created, "model": model, "status": status, "output": output,
        "error": null, "incomplete_details": reason.map(|reason| json!({"reason": reason})), "instructions": null,
        "metadata": {}, "parallel_tool_calls": true, "previous_response_id": null, "store": false, "temperature": null,
        "top_p": null, "tool_choice": "auto", "tools": [], "usage": end.map(|(_, usage)| used(usage)),
    })
}

/// Why an answer is not whole that ends for such a reason.
pub(super) const fn incomplete(stop: StopReason) -> Option<&'static str> {
    match stop {
        StopReason::Length => Some("max_output_tokens"),
        StopReason::Filtered => Some("content_filter"),
        StopReason::Done | StopReason::StopText | StopReason::Calls => None,
    }
}

fn used(usage: Usage) -> Value {
    let Usage { prompt, cached, completion } = usage;
    json!({
        "input_tokens": prompt, "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": completion, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt.saturating_add(completion),
    })
}
