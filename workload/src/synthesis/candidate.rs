//! What the voices said, and which of it won.

use super::Score;
use crate::dialects::Usage;
use crate::limits::estimated_tokens;
use crate::telemetry::UsedTokens;
use serde::{Serialize, Serializer};

/// The answer to a synthesis request.
#[derive(Clone, Debug, Serialize)]
pub struct Synthesis {
    /// Unique identifier.
    pub id: String,
    /// Always `synthesis`.
    pub object: &'static str,
    /// How the candidates were decided between.
    pub mode: codecrucible_contract::Mode,
    /// Definitions that were looked for.
    pub requested_definitions: Vec<String>,
    /// The voice whose candidate won.
    pub winner: String,
    /// The winner's code.
    pub code: String,
    /// Every voice, in the order of the request.
    pub candidates: Vec<Candidate>,
}

impl Synthesis {
    /// Tokens that the voices read and wrote, as far as backends say so.
    pub fn used_tokens(&self) -> UsedTokens {
        let of_voice = |candidate: &Candidate| match &candidate.outcome {
            Outcome::Completed { text, usage, .. } if usage.completion == 0 => {
                UsedTokens { prompt: usage.prompt, completion: estimated_tokens(text.len()) }
            }
            Outcome::Completed { usage, .. } => {
                UsedTokens { prompt: usage.prompt, completion: usage.completion }
            }
            Outcome::Failed { .. } => UsedTokens::default(),
        };
        let both = |all: UsedTokens, one: UsedTokens| UsedTokens {
            prompt: all.prompt.saturating_add(one.prompt),
            completion: all.completion.saturating_add(one.completion),
        };
        self.candidates.iter().map(of_voice).fold(UsedTokens::default(), both)
    }
}

/// What one voice said.
#[derive(Clone, Debug, Serialize)]
pub struct Candidate {
    /// The voice.
    pub voice: String,
    /// The model that spoke for it.
    pub model: String,
    /// Time from the request to the voice's end, milliseconds.
    pub duration_ms: u64,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// How a voice ended.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Outcome {
    /// With an answer.
    Completed {
        /// The whole answer.
        text: String,
        /// The code in it.
        code: String,
        /// The evidence.
        score: Score,
        /// Tokens.
        #[serde(serialize_with = "serialize_usage")]
        usage: Usage,
    },
    /// Without one.
    Failed {
        /// Why, for the client.
        error: String,
    },
}

impl Candidate {
    /// The evidence, if there is an answer.
    pub fn score(&self) -> Option<&Score> {
        match &self.outcome {
            Outcome::Completed { score, .. } => Some(score),
            Outcome::Failed { .. } => None,
        }
    }

    fn code(&self) -> &str {
        match &self.outcome {
            Outcome::Completed { code, .. } => code,
            Outcome::Failed { .. } => "",
        }
    }
}

/// The candidate with the most points and its code; of equals, the one that the request named first.
pub(super) fn best(candidates: &[Candidate]) -> Option<(String, String)> {
    let scored = candidates
        .iter()
        .enumerate()
        .filter_map(|(index, candidate)| Some((candidate.score()?.total, index)));
    let (_, index) = scored.max_by_key(|&(total, index)| (total, std::cmp::Reverse(index)))?;
    Some((candidates[index].voice.clone(), candidates[index].code().to_owned()))
}

fn serialize_usage<S: Serializer>(usage: &Usage, serializer: S) -> Result<S::Ok, S::Error> {
    let usage = serde_json::json!({"prompt_tokens": usage.prompt, "completion_tokens": usage.completion});
    usage.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(voice: &str, total: Option<u32>) -> Candidate {
        let outcome = match total {
            Some(total) => Outcome::Completed {
                text: String::new(),
                code: voice.to_uppercase(),
                score: Score { total, parts: Vec::new() },
                usage: Usage::default(),
            },
            None => Outcome::Failed { error: "x".into() },
        };
        Candidate { voice: voice.into(), model: "m".into(), duration_ms: 1, outcome }
    }

    #[test]
    fn the_most_points_win_and_the_first_of_equals() {
        let candidates = [
            candidate("a", None),
            candidate("b", Some(50)),
            candidate("c", Some(90)),
            candidate("d", Some(90)),
        ];
        assert_eq!(best(&candidates), Some(("c".into(), "C".into())));
    }

    #[test]
    fn nobody_wins_when_every_voice_failed() {
        assert_eq!(best(&[candidate("a", None)]), None);
    }
}
