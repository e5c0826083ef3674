//! A chat completion, and its chunks, as OpenAI-compatible backends answer.

use crate::dialects::{Answer, AnswerReader, Delta, NoAnswer, StopReason, ToolCall, Usage};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// What a stream ends with.
const END_MARK: &str = "[DONE]";

/// Reads answers.
#[derive(Default)]
pub struct Reader {
    /// Calls of tools that have begun: the backend's index and id of each.
    calls: Vec<(Option<u64>, String)>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<UsageDocument>,
    /// Some say it in streams that end like whole ones.
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice {
    /// Of a stream.
    delta: Option<Message>,
    /// Of a whole answer.
    message: Option<Message>,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Message {
    content: Option<String>,
    reasoning_content: Option<String>,
    /// The same: some servers say it in both.
    reasoning: Option<String>,
    refusal: Option<String>,
    tool_calls: Option<Vec<Call>>,
}

#[derive(Deserialize)]
struct Call {
    index: Option<u64>,
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
    fn whole(&mut self, document: &[u8]) -> Result<Answer, NoAnswer> {
        let Document { choices, usage, error } =
            serde_json::from_slice(document).map_err(|_| NoAnswer::Unreadable)?;
        let choice = choices.into_iter().next().filter(|_| error.is_none()).ok_or(NoAnswer::Unreadable)?;
        let message = choice.message.or(choice.delta).ok_or(NoAnswer::Unreadable)?;
        let calls = message.tool_calls.unwrap_or_default().into_iter().map(|call| ToolCall {
            id: call.id.unwrap_or_default(),
            name: call.function.name.unwrap_or_default(),
            arguments: call.function.arguments.unwrap_or_default(),
        });
        Ok(Answer {
            text: message.content.or(message.refusal).unwrap_or_default(),
            reasoning: message.reasoning_content.or(message.reasoning).unwrap_or_default(),
            calls: calls.collect(),
            stop: choice.finish_reason.as_deref().map_or(Ok(StopReason::Done), stop_reason)?,
            usage: usage.map(used).unwrap_or_default(),
        })
    }

    fn event(&mut self, event: &str) -> Result<Vec<Delta>, NoAnswer> {
        if event == END_MARK {
            return Ok(vec![Delta::End]);
        }
        let Document { choices, usage, error } =
            serde_json::from_str(event).map_err(|_| NoAnswer::Unreadable)?;
        if error.is_some() {
            return Err(NoAnswer::GivenUp);
        }
        let mut deltas = Vec::new();
        if let Some(Choice { delta, message, finish_reason }) = choices.into_iter().next() {
            let delta = delta.or(message).unwrap_or_default();
            let some = |text: Option<String>| text.filter(|text| !text.is_empty());
            let reasoning = some(delta.reasoning_content).or(some(delta.reasoning));
            deltas.extend(reasoning.map(Delta::Reasoning));
            deltas.extend(some(delta.content).or(some(delta.refusal)).map(Delta::Text));
            for call in delta.tool_calls.unwrap_or_default() {
                self.call(call, &mut deltas);
            }
            let stop = finish_reason.as_deref().map(stop_reason).transpose()?;
            deltas.extend(stop.map(Delta::Stop));
        }
        deltas.extend(usage.map(|usage| Delta::Usage(used(usage))));
        Ok(deltas)
    }
}

impl Reader {
    /// Some backends leave out the index of the only call, number them otherwise than from 0, or give all the same and tell them apart by their ids.
    fn call(&mut self, call: Call, deltas: &mut Vec<Delta>) {
        let Call { index, id, function: Function { name, arguments } } = call;
        let id = id.unwrap_or_default();
        let known = self.calls.iter().rposition(|(known, _)| *known == index);
        let is_other =
            |place: usize| !id.is_empty() && !self.calls[place].1.is_empty() && self.calls[place].1 != id;
        let place = match known {
            Some(place) if !(is_other(place) && name.is_some()) => place,
            _ => {
                self.calls.push((index, id.clone()));
                let (index, name) = (self.calls.len() - 1, name.unwrap_or_default());
                deltas.push(Delta::Call { index, id, name });
                index
            }
        };
        let arguments = arguments.filter(|text| !text.is_empty());
        deltas.extend(arguments.map(|text| Delta::Arguments { index: place, text }));
    }
}

/// What a backend gave up is no answer.
fn stop_reason(reason: &str) -> Result<StopReason, NoAnswer> {
    Ok(match reason {
        "length" => StopReason::Length,
        "tool_calls" | "function_call" => StopReason::Calls,
        "content_filter" => StopReason::Filtered,
        "abort" | "error" => return Err(NoAnswer::GivenUp),
        _ => StopReason::Done,
    })
}

fn used(usage: UsageDocument) -> Usage {
    let cached = usage.prompt_tokens_details.and_then(|details| details.cached_tokens);
    Usage {
        prompt: usage.prompt_tokens,
        cached: cached.unwrap_or(0).min(usage.prompt_tokens),
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
        assert_eq!(Reader::default().whole(br#"{"choices":[]}"#), Err(NoAnswer::Unreadable));
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

    #[test]
    fn calls_are_told_apart_however_a_backend_numbers_them() {
        let chunk = |call: &str| format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{call}]}}}}]}}"#);
        for (one, other) in [("0", "0"), ("1", "2"), ("7", "3")] {
            let (mut reader, mut answer) = (Reader::default(), Answer::default());
            for call in [
                format!(r#"{{"index":{one},"id":"a","function":{{"name":"look","arguments":"{{"}}}}"#),
                format!(r#"{{"index":{one},"function":{{"arguments":"}}"}}}}"#),
                format!(r#"{{"index":{other},"id":"b","function":{{"name":"see","arguments":"{{}}"}}}}"#),
            ] {
                reader.event(&chunk(&call)).unwrap().into_iter().for_each(|delta| answer.take(delta));
            }
            let calls: Vec<_> =
                answer.calls.iter().map(|call| (&*call.id, &*call.name, &*call.arguments)).collect();
            assert_eq!(calls, [("a", "look", "{}"), ("b", "see", "{}")], "{one} {other}");
        }
    }

    #[test]
    fn what_a_backend_says_twice_counts_once_and_what_it_gave_up_is_no_answer() {
        let both = br#"{"choices":[{"message":{"content":"Yes.","reasoning":null,"reasoning_content":null},"finish_reason":"stop"}]}"#;
        assert_eq!(Reader::default().whole(both).unwrap().text, "Yes.");
        for given_up in [
            r#"{"choices":[{"delta":{},"finish_reason":"abort"}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"error"}],"error":{"message":"x"}}"#,
            r#"{"error":{"message":"x"}}"#,
        ] {
            assert_eq!(Reader::default().event(given_up), Err(NoAnswer::GivenUp), "{given_up}");
        }
    }
}
