//! A response, and the events of one, for clients whose answer comes from a backend that does not write them.

use super::items::{Item, Kind, incomplete, response};
use crate::dialects::{Answer, Delta, Head, StopReason, StreamWriter, ToolCall, Usage};
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

/// What a call has that says nothing of arguments.
const NO_ARGUMENTS: &str = "{}";
/// Most bytes of memory for what was said, which is repeated in the last events. Longer streams end with an error: no model writes as much.
const MAX_SAID_BYTES: usize = 2 * 1024 * 1024;

/// A whole answer.
pub fn whole_answer(head: &Head, answer: Answer) -> Value {
    let Answer { text, reasoning, calls, stop, usage } = answer;
    let mut said = Vec::new();
    if !reasoning.is_empty() {
        said.push((Kind::Thoughts, reasoning));
    }
    if !text.is_empty() {
        said.push((Kind::Message, text));
    }
    for (index, ToolCall { id, name, arguments }) in calls.into_iter().enumerate() {
        let arguments = if arguments.is_empty() { NO_ARGUMENTS.to_owned() } else { arguments };
        said.push((Kind::Call { id: head.call_id(id, index), name }, arguments));
    }
    if said.is_empty() {
        said.push((Kind::Message, String::new()));
    }
    let last = said.len() - 1;
    let item = |(index, (kind, text)): (usize, (Kind, String))| {
        let mut item = Item::new(kind, head, index);
        item.push(&text);
        item.is_cut = index == last && incomplete(stop).is_some();
        item.ended()
    };
    response(head, said.into_iter().enumerate().map(item).collect(), Some((stop, usage)))
}

/// Writes the events of one answer.
pub struct Writer {
    head: Head,
    items: Vec<Item>,
    /// Which item each call is.
    calls: Vec<usize>,
    events: Events,
    stop: StopReason,
    usage: Usage,
    /// What the items take, bytes.
    said: usize,
}

impl Writer {
    /// A writer for one answer.
    pub fn new(head: Head) -> Self {
        let (stop, usage) = (StopReason::default(), Usage::default());
        Self { head, items: Vec::new(), calls: Vec::new(), events: Events::default(), stop, usage, said: 0 }
    }

    /// More of a text, whose item is begun if it is not the last one.
    fn more(&mut self, kind: Kind, text: &str) {
        if !self.items.last().is_some_and(|item| item.kind == kind && item.is_open) {
            self.begin(kind);
        }
        self.push(self.items.len() - 1, text);
    }

    fn begin(&mut self, kind: Kind) {
        // Calls go on until the end: which one of several gets its arguments next is for the backend to say.
        if self.items.last().is_some_and(|last| !matches!(last.kind, Kind::Call { .. })) {
            self.close(self.items.len() - 1);
        }
        let index = self.items.len();
        self.said += size_of::<Item>();
        let item = Item::new(kind, &self.head, index);
        self.events.add("response.output_item.added", json!({"output_index": index, "item": item.begun()}));
        if let Some(part) = item.part("") {
            self.events.add_of(
                &item,
                index,
                "response.content_part.added",
                json!({"content_index": 0, "part": part}),
            );
        }
        self.items.push(item);
    }

    fn push(&mut self, index: usize, text: &str) {
        let Some(item) = self.items.get_mut(index) else { return };
        item.push(text);
        self.said += text.len();
        let name = format!("{}.delta", name(&item.kind));
        self.events.add_of(item, index, &name, with_part(item, json!({"delta": text})));
    }

    fn close(&mut self, index: usize) {
        let Some(item) = self.items.get_mut(index).filter(|item| item.is_open) else { return };
        item.is_open = false;
        let text = match &item.kind {
            Kind::Call { name, .. } => json!({"arguments": item.text(), "name": name}),
            Kind::Thoughts | Kind::Message => json!({"text": item.text()}),
        };
        let name = format!("{}.done", name(&item.kind));
        self.events.add_of(item, index, &name, with_part(item, text));
        if let Some(part) = item.part(item.text()) {
            self.events.add_of(
                item,
                index,
                "response.content_part.done",
                json!({"content_index": 0, "part": part}),
            );
        }
        self.events.add("response.output_item.done", json!({"output_index": index, "item": item.ended()}));
    }

    fn end(&mut self) {
        if self.items.is_empty() {
            self.begin(Kind::Message);
        }
        for index in 0..self.items.len() {
            if matches!(self.items[index].kind, Kind::Call { .. }) && self.items[index].text().is_empty() {
                self.push(index, NO_ARGUMENTS);
            }
            let is_last = index == self.items.len() - 1;
            self.items[index].is_cut = is_last && incomplete(self.stop).is_some();
            self.close(index);
        }
        let output = self.items.iter().map(Item::ended).collect();
        let name = if incomplete(self.stop).is_some() { "response.incomplete" } else { "response.completed" };
        let response = response(&self.head, output, Some((self.stop, self.usage)));
        self.events.add(name, json!({"response": response}));
    }
}

impl StreamWriter for Writer {
    fn start(&mut self) -> Bytes {
        let response = response(&self.head, Vec::new(), None);
        self.events.add("response.created", json!({"response": response}));
        self.events.add("response.in_progress", json!({"response": response}));
        self.events.take()
    }

    fn write(&mut self, delta: Delta) -> Bytes {
        match delta {
            Delta::Text(text) => self.more(Kind::Message, &text),
            Delta::Reasoning(text) => self.more(Kind::Thoughts, &text),
            Delta::Call { index, id, name } => {
                let id = self.head.call_id(id, index);
                self.begin(Kind::Call { id, name });
                self.calls.push(self.items.len() - 1);
            }
            Delta::Arguments { index, text } => {
                if let Some(item) = self.calls.get(index).copied() {
                    self.push(item, &text);
                }
            }
            Delta::Stop(stop) => self.stop = stop,
            Delta::Usage(usage) => self.usage = usage,
            Delta::End => self.end(),
        }
        self.events.take()
    }

    fn is_too_long(&self) -> bool {
        self.said > MAX_SAID_BYTES
    }
}

/// How events are called that are about an item's text.
const fn name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Thoughts => "response.reasoning_text",
        Kind::Message => "response.output_text",
        Kind::Call { .. } => "response.function_call_arguments",
    }
}

/// Says which part of its item an event is about, if that has parts.
fn with_part(item: &Item, mut fields: Value) -> Value {
    if item.part("").is_some() {
        fields["content_index"] = 0.into();
    }
    if item.kind == Kind::Message {
        fields["logprobs"] = json!([]);
    }
    fields
}

/// Events that were not given yet, each with its number.
#[derive(Default)]
struct Events {
    text: BytesMut,
    next: u64,
}

impl Events {
    fn add(&mut self, name: &str, mut fields: Value) {
        fields["type"] = name.into();
        fields["sequence_number"] = self.next.into();
        self.next += 1;
        self.text.extend_from_slice(format!("event: {name}\ndata: {fields}\n\n").as_bytes());
    }

    fn add_of(&mut self, item: &Item, index: usize, name: &str, mut fields: Value) {
        fields["item_id"] = item.id.as_str().into();
        fields["output_index"] = index.into();
        self.add(name, fields);
    }

    fn take(&mut self) -> Bytes {
        self.text.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::EventReader;

    fn head() -> Head {
        Head { id: "resp_1".into(), created: 7, model: "coder".into() }
    }

    fn answer() -> Answer {
        let call = |id: &str, arguments: &str| ToolCall {
            id: id.into(),
            name: "look".into(),
            arguments: arguments.into(),
        };
        Answer {
            text: "Yes.".into(),
            reasoning: "Hm.".into(),
            calls: vec![call("c1", "{\"a\":1}"), call("", "{}")],
            stop: StopReason::Calls,
            usage: Usage { prompt: 5, cached: 2, completion: 4 },
        }
    }

    fn events(deltas: Vec<Delta>) -> Vec<Value> {
        let mut writer = Writer::new(head());
        let mut bytes = writer.start().to_vec();
        deltas.into_iter().for_each(|delta| bytes.extend_from_slice(&writer.write(delta)));
        let data = EventReader::default().read(&bytes).unwrap();
        data.iter().map(|data| serde_json::from_str(data).unwrap()).collect()
    }

    #[test]
    fn a_response_has_an_item_for_all_that_is_said_and_called() {
        let response = whole_answer(&head(), answer());
        let kinds: Vec<_> = response["output"].as_array().unwrap().iter().map(|item| &item["type"]).collect();
        assert_eq!(kinds, ["reasoning", "message", "function_call", "function_call"]);
        assert_eq!(response["output"][1]["content"][0]["text"], "Yes.");
        assert_eq!(response["output"][2]["arguments"], "{\"a\":1}");
        assert_eq!(response["output"][3]["call_id"], "call_resp_1_1", "who gives none gets one");
        assert_eq!(
            (&response["status"], &response["usage"]["total_tokens"]),
            (&json!("completed"), &json!(9))
        );
        let cut = whole_answer(&head(), Answer { stop: StopReason::Length, ..Answer::default() });
        assert_eq!(
            (&cut["status"], &cut["incomplete_details"]["reason"]),
            (&json!("incomplete"), &json!("max_output_tokens"))
        );
    }

    #[test]
    fn events_come_to_the_same_response_and_are_numbered() {
        let events = events(answer().into_deltas());
        let numbers: Vec<_> = events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
        let (first, last) = (&events[0], &events[events.len() - 1]);
        assert_eq!(
            (&first["type"], &first["response"]["status"]),
            (&json!("response.created"), &json!("in_progress"))
        );
        assert_eq!(
            (&last["type"], &last["response"]),
            (&json!("response.completed"), &whole_answer(&head(), answer()))
        );
        let names: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        let message =
            ["response.output_item.added", "response.content_part.added", "response.output_text.delta"];
        assert!(names.windows(3).any(|three| three == message), "{names:?}");
        for (added, done) in
            [("output_item.added", "output_item.done"), ("content_part.added", "content_part.done")]
        {
            let count = |name: &str| names.iter().filter(|told| told.ends_with(name)).count();
            assert_eq!(count(added), count(done), "{names:?}");
        }
    }

    #[test]
    fn arguments_of_calls_beside_each_other_go_to_the_right_one() {
        let call = |index, id: &str| Delta::Call { index, id: id.into(), name: "look".into() };
        let arguments = |index, text: &str| Delta::Arguments { index, text: text.into() };
        let deltas = vec![
            call(0, "a"),
            call(1, "b"),
            arguments(1, "{}"),
            arguments(0, "{\"x\""),
            arguments(0, ":1}"),
            Delta::End,
        ];
        let events = events(deltas);
        let output = &events[events.len() - 1]["response"]["output"];
        assert_eq!((&output[0]["arguments"], &output[1]["arguments"]), (&json!("{\"x\":1}"), &json!("{}")));
    }

    #[test]
    fn what_was_cut_says_so_and_what_was_whole_before_does_not() {
        let cut = Answer { calls: Vec::new(), stop: StopReason::Length, ..answer() };
        let events = events(cut.clone().into_deltas());
        let response = &events[events.len() - 1]["response"];
        assert_eq!(response, &whole_answer(&head(), cut));
        assert_eq!(
            (&response["output"][0]["status"], &response["output"][1]["status"]),
            (&json!("completed"), &json!("incomplete"))
        );
    }

    #[test]
    fn thoughts_alone_are_the_same_whole_and_in_events() {
        let thoughts = Answer { reasoning: "Hm.".into(), ..Answer::default() };
        let events = events(thoughts.clone().into_deltas());
        assert_eq!(events[events.len() - 1]["response"], whole_answer(&head(), thoughts));
    }

    #[test]
    fn a_call_without_arguments_has_an_object_of_none() {
        let call = Delta::Call { index: 0, id: "a".into(), name: "look".into() };
        let events = events(vec![call, Delta::End]);
        assert_eq!(events[events.len() - 1]["response"]["output"][0]["arguments"], "{}");
    }

    #[test]
    fn what_is_said_has_a_limit() {
        let mut writer = Writer::new(head());
        for number in 0.. {
            let delta = if number % 2 == 0 { Delta::Text("x".into()) } else { Delta::Reasoning("x".into()) };
            writer.write(delta);
            if writer.is_too_long() {
                break;
            }
            assert!(number < MAX_SAID_BYTES / size_of::<Item>() + 2);
        }
    }

    #[test]
    fn an_answer_of_nothing_is_an_empty_message() {
        let events = events(vec![Delta::End]);
        assert_eq!(events[events.len() - 1]["response"]["output"][0]["content"][0]["text"], "");
    }
}
