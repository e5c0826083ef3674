//! A chat completion, and its chunks, as OpenAI-compatible backends answer.

use crate::backend::BackendError;
use crate::dialects::{Answer, AnswerReader, Delta, StopReason, ToolCall, Usage};
use serde::Deserialize;

/// What a stream ends with.
const END_MARK: &str = "[DONE]";

/// Reads answers.
#[derive(Default)]
pub struct Reader {
    /// Calls of tools that have begun.
    calls: usize,
}

#[derive(Deserialize)]
struct Document {
    choices: Vec<Choice>,
    usage: Option<UsageDocument>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default, alias = "message")]
    delta: Message,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Message {
    content: Option<String>,
    #[serde(alias = "reasoning")]
    reasoning_content: Option<String>,
    refusal: Option<String>,
    tool_calls: Option<Vec<Call>>,
}

#[derive(Deserialize)]
struct Call {
    index: Option<usize>,
    id: Option<String>,
    #[serde(default)]
    function: Function,
}

#[derive(Default, Deserialize)]
struct Function {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct UsageDocument {
    #[serde(default)]
    prompt_tokens: u64,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
}

impl AnswerReader for Reader {
    fn whole(&mut self, document: &[u8]) -> Result<Answer, BackendError> {
        let Document { choices, usage } =
            serde_json::from_slice(document).map_err(|_| BackendError::Protocol)?;
        let Choice { delta, finish_reason } = choices.into_iter().next().ok_or(BackendError::Protocol)?;
        let calls =
            delta.tool_calls.unwrap_or_default().into_iter().map(|Call { id, function, .. }| ToolCall {
                id: id.unwrap_or_default(),
                name: function.name.unwrap_or_default(),
                arguments: function.arguments.unwrap_or_default(),
            });
        Ok(Answer {
            text: delta.content.or(delta.refusal).unwrap_or_default(),
            reasoning: delta.reasoning_content.unwrap_or_default(),
            calls: calls.collect(),
            stop: finish_reason.as_deref().map(stop_reason).unwrap_or_default(),
            usage: usage.map(used).unwrap_or_default(),
        })
    }

    fn event(&mut self, event: &str) -> Result<Vec<Delta>, BackendError> {
        if event == END_MARK {
            return Ok(vec![Delta::End]);
        }
        let Document { choices, usage } = serde_json::from_str(event).map_err(|_| BackendError::Protocol)?;
        let mut deltas = Vec::new();
        if let Some(Choice { delta, finish_reason }) = choices.into_iter().next() {
            let some = |text: Option<String>| text.filter(|text| !text.is_empty());
            deltas.extend(some(delta.reasoning_content).map(Delta::Reasoning));
            deltas.extend(some(delta.content).or(some(delta.refusal)).map(Delta::Text));
            for call in delta.tool_calls.unwrap_or_default() {
                self.call(call, &mut deltas);
            }
            deltas.extend(finish_reason.as_deref().map(|reason| Delta::Stop(stop_reason(reason))));
        }
        deltas.extend(usage.map(|usage| Delta::Usage(used(usage))));
        Ok(deltas)
    }
}

impl Reader {
    /// A call begins where its name is given; some backends leave out the index of the only one.
    fn call(&mut self, call: Call, deltas: &mut Vec<Delta>) {
        let Call { index, id, function: Function { name, arguments } } = call;
        let begins = index.map_or(name.is_some(), |index| index >= self.calls);
        if begins {
            self.calls += 1;
            let (id, name) = (id.unwrap_or_default(), name.unwrap_or_default());
            deltas.push(Delta::Call { index: self.calls - 1, id, name });
        }
        let index = index.unwrap_or(usize::MAX).min(self.calls.saturating_sub(1));
        let arguments = arguments.filter(|text| !text.is_empty());
        deltas.extend(arguments.map(|text| Delta::Arguments { index, text }));
    }
}

fn stop_reason(reason: &str) -> StopReason {
    match reason {
        "length" => StopReason::Length,
        "tool_calls" | "function_call" => StopReason::Calls,
        "content_filter" => StopReason::Filtered,
        _ => StopReason::Done,
    }
}

fn used(usage: UsageDocument) -> Usage {
    let cached = usage.prompt_tokens_details.and_then(|details| details.cached_tokens);
    Usage {
        prompt: usage.prompt_tokens,
        cached: cached.unwrap_or(0),
        completion: usage.completion_tokens.unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read() {
        let document = br#"{"choices":[{"message":{"content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"look","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":2}}}"#;
        let answer = Reader::default().whole(document).unwrap();
        assert_eq!(answer.calls, [ToolCall { id: "c".into(), name: "look".into(), arguments: "{}".into() }]);
        assert_eq!(
            (answer.stop, answer.usage),
            (StopReason::Calls, Usage { prompt: 3, cached: 2, completion: 4 })
        );
        assert_eq!(Reader::default().whole(br#"{"choices":[]}"#), Err(BackendError::Protocol));
    }

    #[test]
    fn chunks_are_read_also_where_a_backend_leaves_out_indices() {
        for index in [r#""index":0,"#, ""] {
            let mut reader = Reader::default();
            let mut answer = Answer::default();
            for event in [
                r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#.to_owned(),
                r#"{"choices":[{"delta":{"reasoning_content":"Hm."}}]}"#.to_owned(),
                r#"{"choices":[{"delta":{"content":"Yes."}}]}"#.to_owned(),
                format!(
                    r#"{{"choices":[{{"delta":{{"tool_calls":[{{{index}"id":"c","function":{{"name":"look","arguments":""}}}}]}}}}]}}"#
                ),
                format!(
                    r#"{{"choices":[{{"delta":{{"tool_calls":[{{{index}"function":{{"arguments":"{{}}"}}}}]}}}}]}}"#
                ),
                r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#.to_owned(),
                r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#.to_owned(),
            ] {
                reader.event(&event).unwrap().into_iter().for_each(|delta| answer.take(delta));
            }
            assert_eq!((&*answer.text, &*answer.reasoning), ("Yes.", "Hm."));
            assert_eq!(
                answer.calls,
                [ToolCall { id: "c".into(), name: "look".into(), arguments: "{}".into() }]
            );
            assert_eq!((answer.stop, answer.usage.prompt), (StopReason::Calls, 3));
            assert_eq!(reader.event("[DONE]").unwrap(), [Delta::End]);
        }
    }
}
