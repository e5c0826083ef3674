//! The nine voices that every service has unless its resource overrides them.

use crate::policy::Voice;

/// The voices of a request that names none, when the resource names none either.
pub const DEFAULT: [&str; 3] = ["developer", "maintainer", "security"];

/// Most voices that answer one request.
pub const MAX_PER_REQUEST: usize = crate::validate::MAX_VOICES_PER_REQUEST;

/// Name, temperature in hundredths, and what the voice looks at first.
const BUILT_IN: [(&str, u16, &str); 9] = [
    ("explorer", 90, "You look for an unusual approach that others would miss, and make it work."),
    ("maintainer", 50, "You write code that a stranger can read and change in five years."),
    ("analyzer", 40, "You work out the edge cases first, then write code that handles each of them."),
    ("developer", 50, "You write the direct, idiomatic solution that a senior engineer would accept."),
    ("implementor", 40, "You write complete code that runs as it stands, with nothing left out."),
    ("security", 30, "You treat all input as hostile: you validate it and fail safely."),
    ("architect", 30, "You choose the structure first: clear interfaces and small parts."),
    ("designer", 60, "You design the interface that its caller would wish for."),
    ("optimizer", 30, "You choose the data structure and algorithm that need the least time and memory."),
];

/// What every voice is told about the form of its answer.
const FORM: &str =
    "Answer with one fenced code block that holds the whole solution, then at most two sentences.";

/// The built-in voices.
pub fn built_in() -> Vec<Voice> {
    BUILT_IN
        .iter()
        .map(|(name, temperature_percent, look)| Voice {
            name: (*name).to_owned(),
            temperature_percent: *temperature_percent,
            prompt: format!("{look} {FORM}"),
        })
        .collect()
}
