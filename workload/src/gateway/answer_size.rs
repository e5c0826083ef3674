//! What a request says about the size of its answer, for limits that are counted in tokens. Whether it makes sense is for the backend to say, so what
//! a backend might understand counts: the largest number, however it is spelt.

use crate::backend::Endpoint;
use crate::json::is_spelling_of;
use crate::limits::estimated_answer_tokens;
use serde::de::IgnoredAny;

/// Fields that limit the tokens of an answer.
const TOKENS: [&str; 3] = ["max_tokens", "max_completion_tokens", "max_output_tokens"];
/// Fields that ask for several answers.
const ANSWERS: [&str; 2] = ["n", "best_of"];
/// The text, or texts, that are each to be continued.
const PROMPT: &str = "prompt";
/// The longest of them, with letters of two and three bytes for such of one, bytes.
const MOST_BYTES: usize = 32;

/// What a request says about the size of its answer.
#[derive(Default)]
pub(super) struct AnswerSize {
    /// By each of the fields.
    tokens: [Option<u64>; TOKENS.len()],
    answers: Option<u64>,
    prompts: Option<u64>,
}

impl AnswerSize {
    /// Whether the client says how many tokens an answer may be.
    pub(super) fn is_limited(&self) -> bool {
        self.tokens.iter().any(Option::is_some)
    }

    /// Whether a field says something about it.
    pub(super) fn is_told_by(&self, field: &str) -> bool {
        // Most fields are longer or shorter.
        field.len() <= MOST_BYTES
            && (is_spelling_of(field, PROMPT)
                || place(&TOKENS, field).is_some()
                || place(&ANSWERS, field).is_some())
    }

    /// What a field says; nothing, if it is another one.
    pub(super) fn hear(&mut self, field: &str, value: &str) {
        if let Some(place) = place(&TOKENS, field) {
            self.tokens[place] = number(value).max(self.tokens[place]);
        } else if place(&ANSWERS, field).is_some() {
            self.answers = number(value).max(self.answers);
        } else if is_spelling_of(field, PROMPT) {
            self.prompts = texts(value).max(self.prompts);
        }
    }

    /// Tokens that all answers together may be. Of the limits, those count that the endpoint knows.
    pub(super) fn tokens(&self, endpoint: Endpoint) -> u64 {
        let [older, newer, of_responses] = self.tokens;
        let (limit, texts) = match endpoint {
            Endpoint::ChatCompletions => (older.max(newer), None),
            Endpoint::Responses => (of_responses, None),
            Endpoint::Messages => (older, None),
            Endpoint::Completions | Endpoint::Embeddings => (older, self.prompts),
        };
        estimated_answer_tokens(limit, self.answers).saturating_mul(texts.unwrap_or(1).max(1))
    }
}

fn place(fields: &[&str], field: &str) -> Option<usize> {
    fields.iter().position(|known| is_spelling_of(field, known))
}

/// Some servers take `1e3` and `"1000"` as well.
fn number(text: &str) -> Option<u64> {
    let plain = text.trim_matches('"');
    plain.parse().ok().or_else(|| {
        let number: f64 = plain.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
        // It saturates.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is neither negative nor small"
        )]
        Some(number.ceil() as u64)
    })
}

/// How many texts there are: one, or as many as there are in a list of texts or of lists of tokens.
fn texts(value: &str) -> Option<u64> {
    let is_list_of_texts =
        value.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with(['"', '[']));
    let count = |value| serde_json::from_str::<Vec<IgnoredAny>>(value).map_or(1, |texts| texts.len() as u64);
    is_list_of_texts.then(|| count(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::ModelRequest;
    use bytes::Bytes;

    fn answer_tokens(endpoint: Endpoint, more: &str) -> u64 {
        let needed = r#""model":"m","messages":[{"role":"user","content":"x"}],"input":"x""#;
        let body = format!("{{{needed},{more}}}");
        let request = ModelRequest::parse(endpoint, Bytes::from(body)).unwrap();
        request.estimated_tokens() - request.estimated_prompt_tokens()
    }

    #[test]
    fn the_largest_number_that_a_backend_might_understand_counts() {
        let chat = |more: &str| answer_tokens(Endpoint::ChatCompletions, more);
        assert_eq!(chat(r#""max_tokens":10"#), 10);
        assert_eq!(chat(r#""max_tokens":10,"max_completion_tokens":20"#), 20);
        assert_eq!(chat(r#""max_tokens":10,"Max_Tokens":5000"#), 5_000);
        assert_eq!(chat(r#""max_tokens":1e5"#), 100_000);
        assert_eq!(chat(r#""max_tokens":"100000""#), 100_000);
        assert_eq!(chat(r#""max_tokens":10,"n":3"#), 30);
        assert_eq!(chat(r#""max_tokens":10,"N":"3""#), 30);
        assert!(chat(r#""max_tokens":18446744073709551615,"n":2"#) > u64::MAX / 2);
    }

    #[test]
    fn what_an_endpoint_does_not_know_does_not_count() {
        let assumed = answer_tokens(Endpoint::ChatCompletions, r#""x":1"#);
        assert_eq!(answer_tokens(Endpoint::ChatCompletions, r#""max_output_tokens":1"#), assumed);
        assert_eq!(answer_tokens(Endpoint::Responses, r#""max_tokens":1"#), assumed);
        assert_eq!(answer_tokens(Endpoint::Responses, r#""max_output_tokens":1"#), 1);
        for nothing in ["null", "-1", "\"many\"", "{}"] {
            assert_eq!(
                answer_tokens(Endpoint::ChatCompletions, &format!(r#""max_tokens":{nothing}"#)),
                assumed
            );
        }
    }

    #[test]
    fn each_of_several_prompts_is_answered() {
        let completions = |more: &str| answer_tokens(Endpoint::Completions, more);
        assert_eq!(completions(r#""max_tokens":10,"prompt":"x""#), 10);
        assert_eq!(completions(r#""max_tokens":10,"prompt":["x","y","z"]"#), 30);
        assert_eq!(completions(r#""max_tokens":10,"prompt":[[1,2],[3]]"#), 20);
        assert_eq!(completions(r#""max_tokens":10,"prompt":[1,2,3]"#), 10, "tokens of one text");
    }
}
