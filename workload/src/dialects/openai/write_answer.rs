//! A chat completion, and its chunks, for clients of OpenAI's API whose answer comes from a backend that does not write them.

use crate::dialects::{Answer, Delta, Head, StopReason, StreamWriter, ToolCall, Usage};
use bytes::Bytes;
use serde_json::{Value, json};

/// A whole answer.
pub fn whole_answer(head: &Head, answer: Answer) -> Value {
    let Head { id, created, model } = head;
    let Answer { text, reasoning, calls, stop, usage } = answer;
    let content = if text.is_empty() && !calls.is_empty() { Value::Null } else { text.into() };
    let mut message = json!({"role": "assistant", "content": content, "refusal": null});
    if !reasoning.is_empty() {
        message["reasoning_content"] = reasoning.into();
    }
    if !calls.is_empty() {
        let calls =
            calls.into_iter().enumerate().map(|(index, ToolCall { id: of_call, name, arguments })| {
                let id = head.call_id(of_call, index);
                json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
            });
        message["tool_calls"] = calls.collect();
    }
    json!({
        "id": id, "object": "chat.completion", "created": created, "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(stop)}],
        "usage": used(usage),
    })
}

fn finish_reason(stop: StopReason) -> &'static str {
    match stop {
        StopReason::Done | StopReason::StopText => "stop",
        StopReason::Length => "length",
        StopReason::Calls => "tool_calls",
        StopReason::Filtered => "content_filter",
    }
}

fn used(usage: Usage) -> Value {
    let Usage { prompt, cached, completion } = usage;
    json!({
        "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt.saturating_add(completion),
        "prompt_tokens_details": {"cached_tokens": cached},
    })
}

/// Writes the chunks of one answer.
pub struct Writer {
    head: Head,
    include_usage: bool,
    usage: Usage,
}

impl Writer {
    /// A writer for one answer.
    pub fn new(head: Head, include_usage: bool) -> Self {
        Self { head, include_usage, usage: Usage::default() }
    }

    fn choice(&self, delta: &Value, finish_reason: &Value) -> Bytes {
        event(
            &self.chunk(
                &json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason}]),
            ),
        )
    }

    fn delta(&self, delta: &Value) -> Bytes {
        self.choice(delta, &Value::Null)
    }

    fn chunk(&self, choices: &Value) -> Value {
        let Head { id, created, model } = &self.head;
        json!({"id": id, "object": "chat.completion.chunk", "created": created, "model": model, "choices": choices})
    }

    fn end(&self) -> Bytes {
        let mut events = Vec::new();
        if self.include_usage {
            let mut chunk = self.chunk(&json!([]));
            chunk["usage"] = used(self.usage);
            events.extend_from_slice(&event(&chunk));
        }
        events.extend_from_slice(b"data: [DONE]\n\n");
        events.into()
    }
}

impl StreamWriter for Writer {
    fn start(&mut self) -> Bytes {
        self.delta(&json!({"role": "assistant", "content": ""}))
    }

    fn write(&mut self, delta: Delta) -> Bytes {
        match delta {
            Delta::Text(text) => self.delta(&json!({"content": text})),
            Delta::Reasoning(text) => self.delta(&json!({"reasoning_content": text})),
            Delta::Call { index, id, name } => {
                let id = self.head.call_id(id, index);
                let function = json!({"name": name, "arguments": ""});
                self.delta(&json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]}))
            }
            Delta::Arguments { index, text } => {
                self.delta(&json!({"tool_calls": [{"index": index, "function": {"arguments": text}}]}))
            }
            Delta::Stop(stop) => self.choice(&json!({}), &json!(finish_reason(stop))),
            Delta::Usage(usage) => {
                self.usage = usage;
                Bytes::new()
            }
            Delta::End => self.end(),
        }
    }
}

fn event(value: &Value) -> Bytes {
    format!("data: {value}\n\n").into()
}
