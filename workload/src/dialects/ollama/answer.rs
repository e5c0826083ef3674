//! A chat's answer, whole or in lines, as Ollama's API gives it.

use crate::dialects::{Answer, AnswerReader, Delta, NoAnswer, StopReason, ToolCall, Usage};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Reads answers.
#[derive(Default)]
pub struct Reader {
    /// Calls of tools that there were.
    calls: usize,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    message: Message,
    #[serde(default)]
    done: bool,
    done_reason: Option<String>,
    #[serde(default)]
    prompt_eval_count: u64,
    #[serde(default)]
    eval_count: u64,
    error: Option<String>,
}

#[derive(Default, Deserialize)]
struct Message {
    #[serde(default)]
    content: String,
    #[serde(default)]
    thinking: String,
    tool_calls: Option<Vec<Call>>,
}

#[derive(Deserialize)]
struct Call {
    id: Option<String>,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    arguments: Option<Box<RawValue>>,
}

impl AnswerReader for Reader {
    fn whole(&mut self, document: &[u8]) -> Result<Answer, NoAnswer> {
        let text = std::str::from_utf8(document).map_err(|_| NoAnswer::Unreadable)?;
        let deltas = self.event(text)?;
        if deltas.last() != Some(&Delta::End) {
            return Err(NoAnswer::Unreadable);
        }
        let mut answer = Answer::default();
        deltas.into_iter().for_each(|delta| answer.take(delta));
        Ok(answer)
    }

    fn event(&mut self, line: &str) -> Result<Vec<Delta>, NoAnswer> {
        let document: Document = serde_json::from_str(line).map_err(|_| NoAnswer::Unreadable)?;
        if document.error.is_some() {
            return Err(NoAnswer::GivenUp);
        }
        let Message { content, thinking, tool_calls } = document.message;
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let mut deltas = Vec::new();
        deltas.extend(some(thinking).map(Delta::Reasoning));
        deltas.extend(some(content).map(Delta::Text));
        for call in tool_calls.unwrap_or_default() {
            let ToolCall { id, name, arguments } = called(call);
            let index = self.calls;
            self.calls += 1;
            deltas.extend([Delta::Call { index, id, name }, Delta::Arguments { index, text: arguments }]);
        }
        if document.done {
            let stop = match document.done_reason.as_deref() {
                Some("length") => StopReason::Length,
                _ if self.calls > 0 => StopReason::Calls,
                _ => StopReason::Done,
            };
            let usage =
                Usage { prompt: document.prompt_eval_count, cached: 0, completion: document.eval_count };
            deltas.extend([Delta::Stop(stop), Delta::Usage(usage), Delta::End]);
        }
        Ok(deltas)
    }
}

fn called(call: Call) -> ToolCall {
    let Call { id, function: Function { name, arguments } } = call;
    let arguments = arguments.map_or_else(|| "{}".to_owned(), |arguments| arguments.get().to_owned());
    ToolCall { id: id.unwrap_or_default(), name, arguments }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: &str = r#"{"model":"m","message":{"role":"assistant","content":"!"},"done":true,"done_reason":"stop","prompt_eval_count":3,"eval_count":4}"#;

    #[test]
    fn a_document_is_the_only_line() {
        let answer = Reader::default().whole(LAST.as_bytes()).unwrap();
        assert_eq!((&*answer.text, answer.stop), ("!", StopReason::Done));
        assert_eq!(answer.usage, Usage { prompt: 3, cached: 0, completion: 4 });
        for wrong in [r#"{"message":{"content":"x"},"done":false}"#, "{}", "x"] {
            assert_eq!(Reader::default().whole(wrong.as_bytes()), Err(NoAnswer::Unreadable), "{wrong}");
        }
    }

    #[test]
    fn lines_are_read_until_the_one_that_is_done() {
        let (mut reader, mut answer) = (Reader::default(), Answer::default());
        for line in [
            r#"{"message":{"role":"assistant","content":"","thinking":"Hm."},"done":false}"#,
            r#"{"message":{"role":"assistant","content":"Yes."},"done":false}"#,
            r#"{"message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"look","arguments":{"z":1,"a":2}}}]},"done":false}"#,
            LAST,
        ] {
            reader.event(line).unwrap().into_iter().for_each(|delta| answer.take(delta));
        }
        assert_eq!((&*answer.text, &*answer.reasoning, answer.stop), ("Yes.!", "Hm.", StopReason::Calls));
        assert_eq!(answer.calls[0].arguments, r#"{"z":1,"a":2}"#);
        assert_eq!(Reader::default().event(r#"{"error":"out of memory"}"#), Err(NoAnswer::GivenUp));
    }
}
