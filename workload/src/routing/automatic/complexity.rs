//! How hard a request is, as a number from 0 to 100. Pure, and nothing but arithmetic on what the request shows, so that a person can tell why:
//!
//! | part | points |
//! |---|---|
//! | size | 0 up to 64 tokens of the prompt, and 5 for each time that they double, at most 35 |
//! | turns | 1 for each message after the first, at most 10 |
//! | tools | 15 if the model is given any |
//! | words | 8 for each word in the last message of the user that tells of hard work, at most 40 |
//! | effort | 30 more if the client asks for much of it (`reasoning_effort: high`, or `thinking`), 30 less if for little |

use serde::Serialize;

/// Tokens of a prompt that are no size at all.
const SMALL_TOKENS: u64 = 64;
const POINTS_FOR_DOUBLING: i32 = 5;
const MOST_FOR_SIZE: i32 = 35;
const MOST_FOR_TURNS: i32 = 10;
const POINTS_FOR_TOOLS: i32 = 15;
const POINTS_FOR_WORD: i32 = 8;
const MOST_FOR_WORDS: i32 = 40;
const POINTS_FOR_EFFORT: i32 = 30;

/// Words that tell of hard work, by how they begin.
const HARD_WORDS: [&str; 24] = [
    "algorithm",
    "architect",
    "atomic",
    "complexity",
    "concurren",
    "consisten",
    "deadlock",
    "design",
    "distributed",
    "invariant",
    "lock-free",
    "migrat",
    "optimi",
    "parallel",
    "performan",
    "prove",
    "race",
    "recursi",
    "refactor",
    "scal",
    "secur",
    "trade-off",
    "transaction",
    "vulnerab",
];

/// How much the client wants a model to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Effort {
    Little,
    Much,
}

/// What a request shows of how hard it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Features<'a> {
    /// Of the whole prompt.
    pub prompt_tokens: u64,
    /// Messages.
    pub messages: usize,
    /// Whether the model is given tools.
    pub has_tools: bool,
    /// What the user said last.
    pub last_words: &'a str,
    /// What the client wants.
    pub effort: Option<Effort>,
}

/// How hard a request is, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Complexity {
    /// From 0 to 100.
    pub percent: u16,
    /// What it is made of.
    pub parts: [Part; 5],
}

/// A part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// What it gives.
    pub points: i32,
}

impl Complexity {
    /// Of a request.
    pub fn of(features: &Features<'_>) -> Self {
        let parts = [
            Part { name: "size", points: size(features.prompt_tokens) },
            Part { name: "turns", points: at_most(MOST_FOR_TURNS, features.messages.saturating_sub(1)) },
            Part { name: "tools", points: if features.has_tools { POINTS_FOR_TOOLS } else { 0 } },
            Part { name: "words", points: words(features.last_words) },
            Part { name: "effort", points: effort(features.effort) },
        ];
        let sum: i32 = parts.iter().map(|part| part.points).sum();
        Self { percent: u16::try_from(sum.clamp(0, 100)).unwrap_or_default(), parts }
    }
}

fn size(prompt_tokens: u64) -> i32 {
    let doublings = (prompt_tokens / SMALL_TOKENS).checked_ilog2().unwrap_or(0);
    i32::try_from(doublings).unwrap_or(i32::MAX).saturating_mul(POINTS_FOR_DOUBLING).min(MOST_FOR_SIZE)
}

fn words(text: &str) -> i32 {
    let text = text.to_ascii_lowercase();
    let words = text.split(|char: char| !char.is_alphanumeric() && char != '-');
    let is_hard = |word: &&str| HARD_WORDS.iter().any(|hard| word.starts_with(hard));
    at_most(MOST_FOR_WORDS, words.filter(is_hard).count().saturating_mul(POINTS_FOR_WORD as usize))
}

fn effort(effort: Option<Effort>) -> i32 {
    match effort {
        None => 0,
        Some(Effort::Much) => POINTS_FOR_EFFORT,
        Some(Effort::Little) => -POINTS_FOR_EFFORT,
    }
}

fn at_most(most: i32, points: usize) -> i32 {
    i32::try_from(points).unwrap_or(i32::MAX).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn percent(features: Features<'_>) -> u16 {
        Complexity::of(&features).percent
    }

    #[test]
    fn a_short_question_is_easy_and_a_long_one_about_hard_things_is_not() {
        let easy = Features {
            prompt_tokens: 20,
            messages: 1,
            last_words: "Write add(a, b).",
            ..Features::default()
        };
        assert_eq!(percent(easy), 0);
        let hard = Features {
            prompt_tokens: 9_000,
            messages: 6,
            has_tools: true,
            last_words: "Refactor this so that there is no race, and prove that it scales.",
            effort: None,
        };
        assert_eq!(percent(hard), 35 + 5 + 15 + 32);
        assert_eq!(percent(Features { effort: Some(Effort::Much), ..hard }), 100);
        assert_eq!(percent(Features { effort: Some(Effort::Little), ..easy }), 0);
    }

    #[test]
    fn each_doubling_of_the_prompt_counts() {
        let of = |prompt_tokens| percent(Features { prompt_tokens, ..Features::default() });
        assert_eq!([0, 64, 127, 128, 1_024, 8_191, 8_192, u64::MAX].map(of), [0, 0, 0, 5, 20, 30, 35, 35]);
    }

    proptest! {
        /// It is the sum of its parts, and no more of anything makes it less.
        #[test]
        fn more_is_never_easier(
            prompt_tokens in 0_u64..1_000_000,
            messages in 0_usize..40,
            has_tools: bool,
            last_words in "(race |it |design ){0,8}",
            effort in prop::sample::select(vec![None, Some(Effort::Little), Some(Effort::Much)]),
        ) {
            let features = Features { prompt_tokens, messages, has_tools, last_words: &last_words, effort };
            let Complexity { percent, parts } = Complexity::of(&features);
            let sum: i32 = parts.iter().map(|part| part.points).sum();
            prop_assert_eq!(i32::from(percent), sum.clamp(0, 100));
            let words = format!("{last_words} race");
            for more in [
                Features { prompt_tokens: prompt_tokens * 2, ..features },
                Features { messages: messages + 1, ..features },
                Features { has_tools: true, ..features },
                Features { last_words: &words, ..features },
                Features { effort: Some(Effort::Much), ..features },
            ] {
                prop_assert!(Complexity::of(&more).percent >= percent);
            }
        }
    }
}
