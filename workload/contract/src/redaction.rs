//! Secrets that clients send without meaning to, which are taken out before a backend sees them, and those that models answer with.
//!
//! They are looked for in JSON as it is written. What is looked for has no characters that any writer of JSON has to write otherwise, but for what is inside
//! of a private key, which may be anything.

use crate::validate::{Checked, check, name};
use regex_automata::MatchKind;
use regex_automata::hybrid::dfa::DFA;
use regex_automata::meta::Regex;
use regex_automata::nfa::thompson;
use regex_automata::util::syntax::{Config, parse_with};
use serde::{Deserialize, Serialize};

/// Most patterns of a policy.
const MAX_PATTERNS: usize = 32;
/// Longest pattern, bytes.
const MAX_PATTERN_BYTES: usize = 1_024;
/// Least that a pattern matches, bytes: in place of each secret stands its name, and a request must not grow without end.
const MIN_SECRET_BYTES: usize = 4;
/// Most memory that all patterns together take when they are ready, bytes.
const MAX_COMPILED_BYTES: usize = 4 * 1024 * 1024;

/// What is always looked for, each with its name. The names and shapes are those that the issuers document.
const BUILT_IN: [(&str, &str); 10] = [
    ("aws-access-key", r"(?:AKIA|ASIA)[A-Z2-7]{16}\b"),
    ("github-token", r"(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22})[A-Za-z0-9_]*"),
    ("gitlab-token", r"glpat-[A-Za-z0-9_-]{20,}"),
    ("google-api-key", r"AIza[A-Za-z0-9_-]{35}\b"),
    ("json-web-token", r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    ("model-api-key", r"sk-(?:(?:ant|proj|svcacct|or)-[A-Za-z0-9_-]{24,}|[A-Za-z0-9]{48}\b)"),
    ("npm-token", r"npm_[A-Za-z0-9]{36}\b"),
    (
        "private-key",
        r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----.*?-----END (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----",
    ),
    ("slack-token", r"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("stripe-key", r"[rs]k_live_[A-Za-z0-9]{20,}"),
];

/// How secrets in requests are dealt with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redaction {
    /// Whether they are only told of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_shadow: bool,
    /// What is done about those in answers, where these are looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<RedactionMode>,
    /// What is looked for beside what always is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<SecretPattern>,
}

/// What is done about secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RedactionMode {
    /// They are taken out.
    Enforce,
    /// They are told of.
    Shadow,
}

/// What a secret looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretPattern {
    /// What stands in its place.
    pub name: String,
    /// A regular expression, without looking around and references back.
    pub pattern: String,
}

impl Redaction {
    /// What finds all of them: the first, and of those that begin there the one of the first pattern.
    pub fn regex(&self) -> Result<Regex, String> {
        let config =
            Regex::config().match_kind(MatchKind::LeftmostFirst).nfa_size_limit(Some(MAX_COMPILED_BYTES));
        let built =
            Regex::builder().configure(config.utf8_empty(false)).syntax(syntax()).build_many(&self.all());
        built.map_err(|error| match error.size_limit() {
            Some(_) => format!("all together take more than {MAX_COMPILED_BYTES} bytes"),
            None => error.to_string(),
        })
    }

    /// What tells whether more of a text could make it match: the same patterns, with the same precedence.
    pub fn automaton(&self) -> Result<DFA, String> {
        let limit = thompson::Config::new().utf8(false).nfa_size_limit(Some(MAX_COMPILED_BYTES));
        // The least room that patterns need may be more than what is given by default; they are bounded as they are.
        let config = DFA::config().match_kind(MatchKind::LeftmostFirst).skip_cache_capacity_check(true);
        let built = DFA::builder().configure(config).syntax(syntax()).thompson(limit).build_many(&self.all());
        built.map_err(|error| error.to_string())
    }

    /// All that is looked for, and what stands in its place, as one text.
    pub fn all_patterns(&self) -> String {
        let named: Vec<_> = self.names().zip(self.all()).collect();
        format!("{named:?}")
    }

    fn all(&self) -> Vec<&str> {
        let built_in = BUILT_IN.iter().map(|(_, pattern)| *pattern);
        built_in.chain(self.patterns.iter().map(|given| given.pattern.as_str())).collect()
    }

    /// The names of all patterns, in the order of [`Self::regex`].
    pub fn names(&self) -> impl Iterator<Item = &str> {
        BUILT_IN.iter().map(|(name, _)| *name).chain(self.patterns.iter().map(|given| given.name.as_str()))
    }

    pub(crate) fn validate(&self) -> Checked {
        let count = self.patterns.len();
        check(count <= MAX_PATTERNS, "redaction.patterns", || {
            format!("has {count} entries, more than {MAX_PATTERNS}")
        })?;
        for (index, SecretPattern { name: told, pattern }) in self.patterns.iter().enumerate() {
            let path = format!("redaction.patterns[{index}]");
            name(&format!("{path}.name"), told)?;
            let is_plain =
                told.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            check(is_plain, &format!("{path}.name"), || {
                "has more than lower-case letters, digits and -".into()
            })?;
            let is_taken = self.names().filter(|name| name == told).count() > 1;
            check(!is_taken, &format!("{path}.name"), || format!("{told:?} is taken"))?;
            check(pattern.len() <= MAX_PATTERN_BYTES, &format!("{path}.pattern"), || {
                format!("has {} bytes, more than {MAX_PATTERN_BYTES}", pattern.len())
            })?;
            let problem = problem(pattern);
            check(problem.is_none(), &format!("{path}.pattern"), || problem.unwrap_or_default())?;
        }
        self.regex().map(drop).or_else(|error| check(false, "redaction.patterns", || error))?;
        // Made for answers alone.
        let automaton = if self.answers.is_some() { self.automaton().map(drop) } else { Ok(()) };
        automaton.or_else(|error| check(false, "redaction.patterns", || error))
    }
}

/// Bytes, not characters: a place in JSON is one of a byte. A point is any of them.
fn syntax() -> Config {
    Config::new().unicode(false).utf8(false).dot_matches_new_line(true)
}

/// What is wrong with a pattern by itself.
fn problem(pattern: &str) -> Option<String> {
    let parsed = match parse_with(pattern, &syntax()) {
        Ok(parsed) => parsed,
        Err(error) => return Some(format!("is not a regular expression: {error}")),
    };
    let least = parsed.properties().minimum_len().unwrap_or(0);
    (least < MIN_SECRET_BYTES).then(|| format!("may match {least} bytes, fewer than {MIN_SECRET_BYTES}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(told: &str, pattern: &str) -> Option<String> {
        let given = SecretPattern { name: told.into(), pattern: pattern.into() };
        let redaction = Redaction { is_shadow: false, answers: None, patterns: vec![given] };
        redaction.validate().err().map(|invalid| invalid.path)
    }

    #[test]
    fn a_pattern_has_a_name_of_its_own_and_is_a_regular_expression_that_does_not_match_nothing() {
        assert_eq!(path("badge", "BADGE-[0-9]{6}"), None);
        for told in ["aws-access-key", "Badge", "a b", ""] {
            assert_eq!(path(told, "xxxx").as_deref(), Some("redaction.patterns[0].name"), "{told}");
        }
        for pattern in ["(", "x*", "xyz|[0-9]{9}", r"(?=x)xxxx", r"(\w{4})\1"] {
            assert_eq!(path("badge", pattern).as_deref(), Some("redaction.patterns[0].pattern"), "{pattern}");
        }
        assert_eq!(path("badge", "(x{1000}){1000}").as_deref(), Some("redaction.patterns"));
        let given = SecretPattern { name: "badge".into(), pattern: "BADGE-(".into() };
        let told =
            Redaction { is_shadow: false, answers: None, patterns: vec![given] }.validate().unwrap_err();
        assert!(told.problem.contains("BADGE-(") && told.problem.contains("unclosed group"), "{told}");
    }
}
