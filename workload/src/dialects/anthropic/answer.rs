//! A message, and the events of one, as Anthropic's API answers.

use super::STOP_REASONS;
use crate::dialects::{Answer, AnswerReader, Delta, NoAnswer, StopReason, ToolCall, Usage};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Reads answers.
#[derive(Default)]
pub struct Reader {
    /// The indices of blocks that call tools, in the order of the calls.
    calls: Vec<u64>,
    usage: UsageDocument,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Vec<Block>,
    stop_reason: Option<String>,
    usage: Option<UsageDocument>,
}

#[derive(Deserialize)]
struct Block {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    thinking: Option<String>,
    id: Option<String>,
    name: Option<String>,
    input: Option<Box<RawValue>>,
}

/// Each number is what was used so far; one that is not given has not changed.
#[derive(Clone, Copy, Default, Deserialize)]
struct UsageDocument {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    index: Option<u64>,
    message: Option<Message>,
    content_block: Option<Block>,
    delta: Option<DeltaDocument>,
    usage: Option<UsageDocument>,
}

#[derive(Deserialize)]
struct DeltaDocument {
    text: Option<String>,
    thinking: Option<String>,
    partial_json: Option<String>,
    stop_reason: Option<String>,
}

impl AnswerReader for Reader {
    fn whole(&mut self, document: &[u8]) -> Result<Answer, NoAnswer> {
        let Message { content, stop_reason, usage } =
            serde_json::from_slice(document).map_err(|_| NoAnswer::Unreadable)?;
        let stop = stop_reason.as_deref().map(stop_reason_of).ok_or(NoAnswer::Unreadable)?;
        let usage = usage.unwrap_or_default().used();
        let mut answer = Answer { stop, usage, ..Answer::default() };
        for block in content {
            match block.kind.as_str() {
                "text" => answer.text.push_str(&block.text.unwrap_or_default()),
                "thinking" => answer.reasoning.push_str(&block.thinking.unwrap_or_default()),
                "tool_use" => answer.calls.push(ToolCall {
                    id: block.id.unwrap_or_default(),
                    name: block.name.unwrap_or_default(),
                    arguments: block.input.map_or_else(|| "{}".to_owned(), |input| input.get().to_owned()),
                }),
                _ => {}
            }
        }
        Ok(answer)
    }

    fn event(&mut self, event: &str) -> Result<Vec<Delta>, NoAnswer> {
        let event: Event = serde_json::from_str(event).map_err(|_| NoAnswer::Unreadable)?;
        Ok(match event.kind.as_str() {
            "message_start" => {
                self.used(event.message.and_then(|message| message.usage));
                Vec::new()
            }
            "content_block_start" => self.block(event.index, event.content_block),
            "content_block_delta" => self.delta(event.index, event.delta).into_iter().collect(),
            "message_delta" => {
                self.used(event.usage);
                let reason = event.delta.and_then(|delta| delta.stop_reason);
                reason.as_deref().map(|reason| Delta::Stop(stop_reason_of(reason))).into_iter().collect()
            }
            "message_stop" => vec![Delta::Usage(self.usage.used()), Delta::End],
            "error" => return Err(NoAnswer::GivenUp),
            // Others are to be passed over, as the API's documentation has it.
            _ => Vec::new(),
        })
    }
}

impl Reader {
    fn used(&mut self, usage: Option<UsageDocument>) {
        let Some(usage) = usage else { return };
        let before = self.usage;
        self.usage = UsageDocument {
            input_tokens: usage.input_tokens.or(before.input_tokens),
            cache_creation_input_tokens: usage
                .cache_creation_input_tokens
                .or(before.cache_creation_input_tokens),
            cache_read_input_tokens: usage.cache_read_input_tokens.or(before.cache_read_input_tokens),
            output_tokens: usage.output_tokens.or(before.output_tokens),
        };
    }

    fn block(&mut self, index: Option<u64>, block: Option<Block>) -> Vec<Delta> {
        let Some(Block { kind, text, id, name, .. }) = block else { return Vec::new() };
        if kind == "tool_use" {
            self.calls.push(index.unwrap_or_default());
            let index = self.calls.len() - 1;
            return vec![Delta::Call { index, id: id.unwrap_or_default(), name: name.unwrap_or_default() }];
        }
        text.filter(|text| !text.is_empty()).map(Delta::Text).into_iter().collect()
    }

    fn delta(&self, index: Option<u64>, delta: Option<DeltaDocument>) -> Option<Delta> {
        let DeltaDocument { text, thinking, partial_json, .. } = delta?;
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        let arguments = || {
            let index = self.calls.iter().position(|call| Some(*call) == index)?;
            Some(Delta::Arguments { index, text: some(partial_json)? })
        };
        some(text).map(Delta::Text).or_else(|| some(thinking).map(Delta::Reasoning)).or_else(arguments)
    }
}

impl UsageDocument {
    /// To Anthropic, what was known from before is no input.
    fn used(self) -> Usage {
        let number = |tokens: Option<u64>| tokens.unwrap_or(0);
        let cached = number(self.cache_read_input_tokens);
        let new = number(self.input_tokens).saturating_add(number(self.cache_creation_input_tokens));
        Usage { prompt: new.saturating_add(cached), cached, completion: number(self.output_tokens) }
    }
}

fn stop_reason_of(reason: &str) -> StopReason {
    STOP_REASONS.iter().find(|(name, _)| *name == reason).map_or(StopReason::Done, |(_, stop)| *stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read() {
        let document = br#"{"type":"message","content":[{"type":"thinking","thinking":"Hm."},{"type":"text","text":"Yes."},{"type":"tool_use","id":"c","name":"look","input":{"z":1,"a":2}}],"stop_reason":"tool_use","usage":{"input_tokens":3,"cache_read_input_tokens":2,"output_tokens":4}}"#;
        let answer = Reader::default().whole(document).unwrap();
        assert_eq!((&*answer.text, &*answer.reasoning, answer.stop), ("Yes.", "Hm.", StopReason::Calls));
        assert_eq!(answer.calls[0].arguments, r#"{"z":1,"a":2}"#);
        assert_eq!(answer.usage, Usage { prompt: 5, cached: 2, completion: 4 });
        for wrong in ["{}", r#"{"type":"error","error":{"type":"api_error","message":"x"}}"#, "[]"] {
            assert_eq!(Reader::default().whole(wrong.as_bytes()), Err(NoAnswer::Unreadable), "{wrong}");
        }
    }

    #[test]
    fn events_are_read_and_unknown_ones_passed_over() {
        let (mut reader, mut answer) = (Reader::default(), Answer::default());
        for event in [
            r#"{"type":"message_start","message":{"id":"m","content":[],"usage":{"input_tokens":3,"output_tokens":1}}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"ping"}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Yes."}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"c","name":"look","input":{}}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":""}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"1}"}}"#,
            r#"{"type":"something_new","delta":{"text":"x"}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":9}}"#,
        ] {
            reader.event(event).unwrap().into_iter().for_each(|delta| answer.take(delta));
        }
        assert_eq!((&*answer.text, &*answer.calls[0].arguments), ("Yes.", "{\"a\":1}"));
        let usage = Usage { prompt: 3, cached: 0, completion: 9 };
        assert_eq!(reader.event(r#"{"type":"message_stop"}"#).unwrap(), [Delta::Usage(usage), Delta::End]);
        let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#;
        assert_eq!(reader.event(error), Err(NoAnswer::GivenUp));
    }
}
