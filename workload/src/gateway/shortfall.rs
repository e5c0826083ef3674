//! Why an answer falls short, if it does, by what it is itself: it is measured, never believed.

use crate::dialects::{Answer, StopReason};
use crate::synthesis::is_unparsable;
use codecrucible_contract::Task;

/// Why an answer to a task falls short. To be cut off is what a client wants that sets a limit.
pub(super) fn shortfall(answer: &Answer, task: Option<Task>, is_limited: bool) -> Option<&'static str> {
    let is_code_wanted = matches!(task, Some(Task::Write | Task::Test));
    match answer.text.trim() {
        _ if answer.stop == StopReason::Length && is_limited => None,
        _ if answer.stop == StopReason::Length => Some("cut"),
        // What is called for is for the client to judge.
        _ if !answer.calls.is_empty() => None,
        "" => Some("empty"),
        text if is_unparsable(text) => Some("unparsable"),
        text if is_code_wanted && !text.contains("```") => Some("no_code"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::ToolCall;

    fn of(text: &str, task: Option<Task>) -> Option<&'static str> {
        shortfall(&Answer { text: text.into(), ..Answer::default() }, task, false)
    }

    #[test]
    fn code_has_to_parse_and_to_be_there_where_it_was_asked_for() {
        let whole = "Here:\n```python\ndef add(a, b):\n    return a + b\n```\n";
        assert_eq!(of(whole, Some(Task::Write)), None);
        assert_eq!(of("```python\ndef add(a, b:\n    return\n```", Some(Task::Write)), Some("unparsable"));
        assert_eq!(of("```cobol\nADD A TO B.\n```", Some(Task::Write)), None, "nobody here reads that");
        assert_eq!(of("I would add them.", Some(Task::Test)), Some("no_code"));
        assert_eq!(of("It adds them.", Some(Task::Explain)), None);
        assert_eq!(of("  ", None), Some("empty"));
    }

    #[test]
    fn what_was_cut_off_falls_short_and_a_call_of_a_tool_does_not() {
        let cut = Answer { text: "Well".into(), stop: StopReason::Length, ..Answer::default() };
        assert_eq!([false, true].map(|is_limited| shortfall(&cut, None, is_limited)), [Some("cut"), None]);
        let call = Answer { calls: vec![ToolCall::default()], ..Answer::default() };
        assert_eq!(shortfall(&call, Some(Task::Write), false), None);
    }
}
