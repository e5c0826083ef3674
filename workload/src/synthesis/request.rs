//! What a client asks for, made complete from the policy.

use super::Language;
use crate::limits::estimated_tokens;
use crate::request_error::RequestError;
use codecrucible_contract::{Mode, Synthesis as SynthesisPolicy, Voice, voices};
use serde::Deserialize;

/// Longest task, bytes.
const MAX_TASK_BYTES: usize = 64 * 1024;
/// Most definitions that are looked for.
const MAX_DEFINITIONS: usize = 32;
/// Longest name of a definition, bytes.
const MAX_DEFINITION_BYTES: usize = 128;

/// The body of `POST /v1/synthesis`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SynthesisRequest {
    /// What is to be written.
    pub task: String,
    /// The language; otherwise taken from the task, then from each answer's fence.
    pub language: Option<Language>,
    /// Names that the code must define; otherwise those that the task calls, such as `add(a, b)`.
    pub definitions: Option<Vec<String>>,
    /// Voices; otherwise the policy's.
    pub voices: Option<Vec<String>>,
    /// Mode; otherwise the policy's.
    pub mode: Option<Mode>,
    /// Model; otherwise the first of the first backend.
    pub model: Option<String>,
    /// Tokens for each voice, at most the policy's.
    pub max_tokens: Option<usize>,
    /// Whether events are to be sent while the voices speak.
    #[serde(default)]
    pub stream: bool,
}

/// A request with nothing left open.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is to be written.
    pub task: String,
    /// The language, where request or task name one.
    pub language: Option<Language>,
    /// Names that the code must define.
    pub definitions: Vec<String>,
    /// Who speaks.
    pub voices: Vec<Voice>,
    /// How it is decided.
    pub mode: Mode,
    /// Tokens for each voice.
    pub max_tokens: usize,
}

impl Plan {
    /// Tokens that all voices together may read and write.
    pub fn estimated_tokens(&self) -> u64 {
        let of_voice =
            |voice: &Voice| estimated_tokens(voice.prompt.len() + self.task.len()) + self.max_tokens as u64;
        self.voices.iter().map(of_voice).sum()
    }
}

impl SynthesisRequest {
    /// Checks the request and fills what it leaves open.
    pub fn plan(self, policy: &SynthesisPolicy) -> Result<Plan, RequestError> {
        if self.task.trim().is_empty() || self.task.len() > MAX_TASK_BYTES {
            return Err(RequestError::at("task", format!("task must have 1 to {MAX_TASK_BYTES} bytes")));
        }
        let most = policy.max_tokens_per_voice as usize;
        let max_tokens = self.max_tokens.unwrap_or(most);
        if max_tokens == 0 || max_tokens > most {
            return Err(RequestError::at("max_tokens", format!("max_tokens must be 1 to {most}")));
        }
        let definitions = match self.definitions {
            Some(names) => checked_definitions(names)?,
            None => called_names(&self.task),
        };
        Ok(Plan {
            voices: chosen_voices(self.voices.as_ref().unwrap_or(&policy.default_voices), policy)?,
            language: self.language.or_else(|| named_language(&self.task)),
            mode: self.mode.unwrap_or(policy.default_mode),
            task: self.task,
            definitions,
            max_tokens,
        })
    }
}

fn checked_definitions(names: Vec<String>) -> Result<Vec<String>, RequestError> {
    let is_name = |name: &String| !name.is_empty() && name.len() <= MAX_DEFINITION_BYTES;
    if names.len() > MAX_DEFINITIONS || !names.iter().all(is_name) {
        let message = format!(
            "definitions must be at most {MAX_DEFINITIONS} names of 1 to {MAX_DEFINITION_BYTES} bytes"
        );
        return Err(RequestError::at("definitions", message));
    }
    Ok(names)
}

fn chosen_voices(names: &[String], policy: &SynthesisPolicy) -> Result<Vec<Voice>, RequestError> {
    if names.is_empty() || names.len() > voices::MAX_PER_REQUEST {
        return Err(RequestError::at(
            "voices",
            format!("voices must name 1 to {} voices", voices::MAX_PER_REQUEST),
        ));
    }
    let find = |(index, name): (usize, &String)| {
        if names[..index].contains(name) {
            return Err(RequestError::at(
                format!("voices[{index}]"),
                format!("the voice {name:?} is named twice"),
            ));
        }
        policy.voices.iter().find(|voice| voice.name == *name).cloned().ok_or_else(|| {
            let known: Vec<_> = policy.voices.iter().map(|voice| voice.name.as_str()).collect();
            let message = format!("there is no voice {name:?}; there are {}", known.join(", "));
            RequestError::at(format!("voices[{index}]"), message)
        })
    };
    names.iter().enumerate().map(find).collect()
}

/// The only language that the task names as a word, if it is just one.
fn named_language(task: &str) -> Option<Language> {
    // "go" is a common English word: only its proper spelling counts.
    let of_word = |word: &str| match word {
        "Go" | "golang" | "Golang" => Some(Language::Go),
        word if word.eq_ignore_ascii_case("go") => None,
        word if word.len() > 3 => Language::from_name(word),
        _ => None,
    };
    let mut languages = task.split(|c: char| !c.is_alphanumeric()).filter_map(of_word);
    let first = languages.next()?;
    languages.all(|language| language == first).then_some(first)
}

/// Identifiers that an opening bracket follows directly, as in `add(a, b)`.
fn called_names(task: &str) -> Vec<String> {
    let is_identifier = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut names: Vec<String> = Vec::new();
    for (position, _) in task.match_indices('(') {
        let before = &task[..position];
        let name = before.rsplit(|c| !is_identifier(c)).next().unwrap_or_default();
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.len() <= MAX_DEFINITION_BYTES;
        if is_name && names.len() < MAX_DEFINITIONS && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn policy() -> SynthesisPolicy {
        SynthesisPolicy {
            voices: voices::built_in(),
            default_voices: voices::DEFAULT.map(str::to_owned).to_vec(),
            default_mode: Mode::Competitive,
            max_tokens_per_voice: 512,
        }
    }

    fn plan(request: Value) -> Result<Plan, RequestError> {
        serde_json::from_value::<SynthesisRequest>(request).unwrap().plan(&policy())
    }

    #[test]
    fn what_the_request_leaves_open_comes_from_task_and_policy() {
        let plan =
            plan(json!({"task": "Write a Python function add(a, b) and sub(a, b) (simple)."})).unwrap();
        assert_eq!(plan.language, Some(Language::Python));
        assert_eq!(plan.definitions, ["add", "sub"]);
        assert_eq!(plan.voices.iter().map(|voice| voice.name.as_str()).collect::<Vec<_>>(), voices::DEFAULT);
        assert_eq!(plan.max_tokens, 512);
    }

    #[test]
    fn english_is_not_taken_for_a_language() {
        assert_eq!(named_language("go through the list"), None);
        assert_eq!(named_language("Write it in Go."), Some(Language::Go));
        assert_eq!(named_language("Port it from Python to Rust"), None);
    }

    #[test]
    fn wrong_fields_are_named() {
        let parameter = |request: Value| plan(request).unwrap_err().parameter.unwrap();
        assert_eq!(parameter(json!({"task": " "})), "task");
        assert_eq!(parameter(json!({"task": "x", "max_tokens": 513})), "max_tokens");
        assert_eq!(parameter(json!({"task": "x", "voices": []})), "voices");
        assert_eq!(parameter(json!({"task": "x", "voices": ["developer", "nobody"]})), "voices[1]");
        assert_eq!(parameter(json!({"task": "x", "voices": ["developer", "developer"]})), "voices[1]");
        assert_eq!(parameter(json!({"task": "x", "definitions": [""]})), "definitions");
    }
}
