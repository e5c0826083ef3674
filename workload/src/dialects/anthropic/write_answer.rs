//! A message, and the events of one, for clients of Anthropic's API whose answer comes from a backend that does not write them.

use super::STOP_REASONS;
use crate::dialects::{Answer, Delta, Head, StopReason, StreamWriter, ToolCall, Usage};
use bytes::{Bytes, BytesMut};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// A whole answer. What the model thought is shown to who asked for it: others take the first block for the answer.
pub fn whole_answer(head: &Head, answer: Answer, show_reasoning: bool) -> String {
    let Answer { text, reasoning, calls, stop, usage } = answer;
    let mut content = Vec::new();
    if show_reasoning && !reasoning.is_empty() {
        content.push(json!({"type": "thinking", "thinking": reasoning, "signature": ""}).to_string());
    }
    if !text.is_empty() {
        content.push(json!({"type": "text", "text": text}).to_string());
    }
    for (index, ToolCall { id, name, arguments }) in calls.into_iter().enumerate() {
        let (id, name) = (json!(head.call_id(id, index)), json!(name));
        let input = object(&arguments);
        content.push(format!(r#"{{"type":"tool_use","id":{id},"name":{name},"input":{input}}}"#));
    }
    // Put together as text, so that a tool's arguments stand as the model wrote them.
    let (id, model, stop_reason) = (json!(head.id), json!(head.model), json!(stop_reason(stop)));
    format!(
        r#"{{"id":{id},"type":"message","role":"assistant","model":{model},"content":[{}],"stop_reason":{stop_reason},"stop_sequence":null,"usage":{}}}"#,
        content.join(","),
        used(usage),
    )
}

/// A tool's arguments, which have to be an object: what a model wrote instead is shown as such.
fn object(arguments: &str) -> String {
    let is_object =
        || serde_json::from_str::<&RawValue>(arguments).is_ok_and(|raw| raw.get().starts_with('{'));
    match arguments.trim() {
        "" => "{}".to_owned(),
        _ if is_object() => arguments.trim().to_owned(),
        _ => json!({"arguments": arguments}).to_string(),
    }
}

fn stop_reason(stop: StopReason) -> &'static str {
    STOP_REASONS.iter().find(|(_, known)| *known == stop).map_or("end_turn", |(name, _)| name)
}

fn used(usage: Usage) -> Value {
    let Usage { prompt, cached, completion } = usage;
    json!({"input_tokens": prompt.saturating_sub(cached), "cache_read_input_tokens": cached, "output_tokens": completion})
}

/// Writes the events of one answer.
pub struct Writer {
    head: Head,
    show_reasoning: bool,
    /// The block that is being written.
    open: Option<Open>,
    blocks: usize,
    /// The block of each call.
    calls: Vec<usize>,
    stop: StopReason,
    usage: Usage,
}

/// What a block is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    Thinking,
    Call,
}

impl Writer {
    /// A writer for one answer.
    pub fn new(head: Head, show_reasoning: bool) -> Self {
        Self {
            head,
            show_reasoning,
            open: None,
            blocks: 0,
            calls: Vec::new(),
            stop: StopReason::default(),
            usage: Usage::default(),
        }
    }

    /// More of a block, which is begun if it is not the one that is being written.
    fn more(&mut self, kind: Open, delta: &Value) -> Bytes {
        let mut events = BytesMut::new();
        if self.open != Some(kind) {
            let block = match kind {
                Open::Thinking => json!({"type": "thinking", "thinking": "", "signature": ""}),
                Open::Text | Open::Call => json!({"type": "text", "text": ""}),
            };
            self.begin(kind, &block, &mut events);
        }
        add_delta(self.blocks - 1, delta, &mut events);
        events.freeze()
    }

    fn begin(&mut self, kind: Open, block: &Value, events: &mut BytesMut) {
        self.close(events);
        self.open = Some(kind);
        let event = json!({"type": "content_block_start", "index": self.blocks, "content_block": block});
        self.blocks += 1;
        add("content_block_start", &event, events);
    }

    fn close(&mut self, events: &mut BytesMut) {
        if self.open.take().is_some() {
            add(
                "content_block_stop",
                &json!({"type": "content_block_stop", "index": self.blocks - 1}),
                events,
            );
        }
    }

    fn call(&mut self, index: usize, id: String, name: &str) -> Bytes {
        let mut events = BytesMut::new();
        self.calls.push(self.blocks);
        let id = self.head.call_id(id, index);
        self.begin(
            Open::Call,
            &json!({"type": "tool_use", "id": id, "name": name, "input": {}}),
            &mut events,
        );
        events.freeze()
    }

    fn arguments(&self, index: usize, text: &str) -> Bytes {
        let mut events = BytesMut::new();
        if let Some(block) = self.calls.get(index) {
            add_delta(*block, &json!({"type": "input_json_delta", "partial_json": text}), &mut events);
        }
        events.freeze()
    }

    fn end(&mut self) -> Bytes {
        let mut events = BytesMut::new();
        self.close(&mut events);
        let delta = json!({"stop_reason": stop_reason(self.stop), "stop_sequence": null});
        let event = json!({"type": "message_delta", "delta": delta, "usage": used(self.usage)});
        add("message_delta", &event, &mut events);
        add("message_stop", &json!({"type": "message_stop"}), &mut events);
        events.freeze()
    }
}

impl StreamWriter for Writer {
    fn start(&mut self) -> Bytes {
        let mut events = BytesMut::new();
        let message = json!({
            "id": self.head.id, "type": "message", "role": "assistant", "model": self.head.model, "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 0, "output_tokens": 0},
        });
        add("message_start", &json!({"type": "message_start", "message": message}), &mut events);
        events.freeze()
    }

    fn write(&mut self, delta: Delta) -> Bytes {
        match delta {
            Delta::Text(text) => self.more(Open::Text, &json!({"type": "text_delta", "text": text})),
            Delta::Reasoning(text) if self.show_reasoning => {
                self.more(Open::Thinking, &json!({"type": "thinking_delta", "thinking": text}))
            }
            // So that a client, and proxies on the way, see that the model is at work.
            Delta::Reasoning(_) => {
                let mut events = BytesMut::new();
                add("ping", &json!({"type": "ping"}), &mut events);
                events.freeze()
            }
            Delta::Call { index, id, name } => self.call(index, id, &name),
            Delta::Arguments { index, text } => self.arguments(index, &text),
            Delta::Stop(stop) => {
                self.stop = stop;
                Bytes::new()
            }
            Delta::Usage(usage) => {
                self.usage = usage;
                Bytes::new()
            }
            Delta::End => self.end(),
        }
    }
}

fn add_delta(block: usize, delta: &Value, events: &mut BytesMut) {
    let event = json!({"type": "content_block_delta", "index": block, "delta": delta});
    add("content_block_delta", &event, events);
}

fn add(name: &str, event: &Value, events: &mut BytesMut) {
    events.extend_from_slice(format!("event: {name}\ndata: {event}\n\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::Reader;
    use super::*;
    use crate::backend::EventReader;
    use crate::dialects::AnswerReader as _;

    fn head() -> Head {
        Head { id: "msg_1".into(), created: 0, model: "coder".into() }
    }

    fn answer() -> Answer {
        let call =
            |id: &str| ToolCall { id: id.into(), name: "look".into(), arguments: r#"{"z":1,"a":2}"#.into() };
        Answer {
            text: "Yes.".into(),
            reasoning: "Hm.".into(),
            calls: vec![call("c1"), call("c2")],
            stop: StopReason::Calls,
            usage: Usage { prompt: 5, cached: 2, completion: 4 },
        }
    }

    #[test]
    fn what_is_written_is_what_is_read_whole_and_in_events() {
        let document = whole_answer(&head(), answer(), true);
        assert_eq!(Reader::default().whole(document.as_bytes()).unwrap(), answer());
        let mut writer = Writer::new(head(), true);
        let mut events = writer.start().to_vec();
        answer().into_deltas().into_iter().for_each(|delta| events.extend_from_slice(&writer.write(delta)));
        let (mut reader, mut again) = (Reader::default(), Answer::default());
        for event in EventReader::default().read(&events).unwrap() {
            reader.event(&event).unwrap().into_iter().for_each(|delta| again.take(delta));
        }
        assert_eq!(again, answer());
        assert!(events.ends_with(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
    }

    #[test]
    fn thoughts_are_shown_to_who_asks_for_them() {
        assert!(!whole_answer(&head(), answer(), false).contains("Hm."));
        let mut writer = Writer::new(head(), false);
        assert_eq!(
            writer.write(Delta::Reasoning("Hm.".into())),
            "event: ping\ndata: {\"type\":\"ping\"}\n\n"
        );
    }

    #[test]
    fn what_a_model_wrote_in_place_of_an_object_is_shown_in_one() {
        assert_eq!(object("not json"), r#"{"arguments":"not json"}"#);
        assert_eq!(object("[1]"), r#"{"arguments":"[1]"}"#);
        assert_eq!((&*object(""), &*object(r#" {"a":1}"#)), ("{}", r#"{"a":1}"#));
    }
}
