//! Takes secrets out of a request before a backend sees it: what looks like one, inside of a JSON string, is replaced by its pattern's name. No request
//! is ever refused for that.

use crate::telemetry::Metrics;
use bytes::{Bytes, BytesMut};
use codecrucible_contract as contract;
use regex_automata::meta::Regex;
use std::collections::BTreeSet;
use std::ops::Range;

/// As a policy has it, made ready.
pub struct Redaction {
    regex: Regex,
    names: Vec<String>,
    is_shadow: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The names of patterns, each once.
    pub names: BTreeSet<String>,
    /// Whether nothing was done about it.
    pub is_shadow: bool,
}

impl Found {
    /// The names, for a person.
    pub fn names(&self) -> String {
        self.names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// A secret: of which pattern, and where.
type Secret = (usize, Range<usize>);

impl Redaction {
    /// Nothing where there is none; the policy was checked, so its patterns are good.
    pub fn new(policy: Option<&contract::Redaction>) -> Option<Self> {
        let policy = policy?;
        let names = policy.names().map(str::to_owned).collect();
        Some(Self { regex: policy.regex().ok()?, names, is_shadow: policy.is_shadow })
    }

    /// A JSON document without secrets, and what was found in it, if anything.
    pub fn apply(&self, document: Bytes, metrics: &Metrics) -> (Bytes, Option<Found>) {
        let secrets = self.secrets(&document);
        if secrets.is_empty() {
            return (document, None);
        }
        let action = if self.is_shadow { "would_redact" } else { "redacted" };
        for (pattern, _) in &secrets {
            metrics.secrets.with_label_values(&[self.name(*pattern), action]).inc();
        }
        let names = secrets.iter().map(|(pattern, _)| self.name(*pattern).to_owned()).collect();
        let document = if self.is_shadow { document } else { self.without(&document, &secrets) };
        (document, Some(Found { names, is_shadow: self.is_shadow }))
    }

    /// All of them, in their order.
    fn secrets(&self, document: &[u8]) -> Vec<Secret> {
        // Where strings are is looked for only where there is something to be found: mostly there is not.
        let mut strings = Strings::of(document);
        let found = self.regex.find_iter(document).map(|found| (found.pattern().as_usize(), found.range()));
        found.filter(|(_, place)| strings.have(place)).collect()
    }

    fn without(&self, document: &[u8], secrets: &[Secret]) -> Bytes {
        let (mut redacted, mut from) = (BytesMut::with_capacity(document.len()), 0);
        for (pattern, place) in secrets {
            redacted.extend_from_slice(&document[from..place.start]);
            redacted.extend_from_slice(format!("[REDACTED:{}]", self.name(*pattern)).as_bytes());
            from = place.end;
        }
        redacted.extend_from_slice(&document[from..]);
        redacted.freeze()
    }

    fn name(&self, pattern: usize) -> &str {
        self.names.get(pattern).map_or("secret", String::as_str)
    }
}

/// The insides of a document's strings, from its beginning on.
struct Strings<'a> {
    document: &'a [u8],
    /// How far it was read.
    at: usize,
    is_inside: bool,
}

impl<'a> Strings<'a> {
    fn of(document: &'a [u8]) -> Self {
        Self { document, at: 0, is_inside: false }
    }

    /// Whether a place is inside of one string that is no name of a field, and cuts no escape or character in two; of places in their order.
    fn have(&mut self, place: &Range<usize>) -> bool {
        self.read_to(place.start);
        let is_begun = self.is_inside && self.at == place.start;
        self.read_to(place.end);
        let is_whole = is_begun && self.is_inside && self.at == place.end;
        is_whole
            && !self.document[place.clone()].contains(&b'"')
            && !self.is_in_character(place.start)
            && !self.is_in_character(place.end)
            && !self.is_name()
    }

    fn is_in_character(&self, at: usize) -> bool {
        self.document.get(at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000)
    }

    /// Whether the string that is being read is the name of a field.
    fn is_name(&self) -> bool {
        let mut rest = Self { ..*self };
        while rest.is_inside && rest.at < self.document.len() {
            rest.read_to(rest.at + 1);
        }
        let after = self.document.get(rest.at..).unwrap_or_default();
        after.trim_ascii_start().first() == Some(&b':')
    }

    /// Reads on to a place, or to the end of the escape in which it is.
    fn read_to(&mut self, end: usize) {
        while self.at < end {
            match self.document[self.at] {
                b'"' => self.is_inside = !self.is_inside,
                b'\\' if self.is_inside => self.at += 1,
                _ => {}
            }
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::SecretPattern;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn redaction(patterns: &[(&str, &str)], is_shadow: bool) -> Redaction {
        let pattern = |(name, pattern): &(&str, &str)| SecretPattern {
            name: (*name).into(),
            pattern: (*pattern).into(),
        };
        let policy = contract::Redaction { is_shadow, patterns: patterns.iter().map(pattern).collect() };
        Redaction::new(Some(&policy)).unwrap()
    }

    /// What becomes of a text in a document.
    fn redacted(text: &str) -> String {
        let document = json!({"messages": [{"content": text}]}).to_string();
        let (document, _) = redaction(&[], false).apply(document.into(), &Metrics::new().unwrap());
        let document: Value = serde_json::from_slice(&document).unwrap();
        document["messages"][0]["content"].as_str().unwrap().to_owned()
    }

    #[test]
    fn what_looks_like_a_secret_is_replaced_by_its_name() {
        let letters = |count: usize| "aB3".repeat(count.div_ceil(3))[..count].to_owned();
        let secrets = [
            ("aws-access-key", "AKIAIOSFODNN7EXAMPLE".to_owned()),
            ("github-token", format!("ghp_{}", letters(36))),
            ("github-token", format!("github_pat_{}", letters(82))),
            ("gitlab-token", format!("glpat-{}", letters(20))),
            ("google-api-key", format!("AIza{}", letters(35))),
            ("json-web-token", format!("eyJ{0}.eyJ{0}.{0}", letters(20))),
            ("model-api-key", format!("sk-ant-api03-{}", letters(80))),
            ("model-api-key", format!("sk-{}", letters(48))),
            ("npm-token", format!("npm_{}", letters(36))),
            (
                "private-key",
                format!(
                    "-----BEGIN RSA PRIVATE KEY-----\n{}\r\n{}\n-----END RSA PRIVATE KEY-----",
                    letters(64),
                    letters(9)
                ),
            ),
            ("slack-token", "xoxb-123456789012-abcdef".to_owned()),
            ("stripe-key", format!("sk_live_{}", letters(24))),
        ];
        for (name, secret) in secrets {
            for (before, after) in [("", ""), ("key:\n", "\nend"), ("\"", "\"."), ("é=", ", and \\")] {
                let expected = format!("{before}[REDACTED:{name}]{after}");
                assert_eq!(redacted(&format!("{before}{secret}{after}")), expected, "{name}");
            }
        }
    }

    #[test]
    fn code_and_what_is_nearly_a_secret_stay_as_they_are() {
        let texts = [
            "let sk_learn = \"sk-learn-is-a-python-package\"; // AKIA",
            "eyJ is how base64 of {\" begins, ghp_ how tokens do",
            "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----",
            "SELECT * FROM users WHERE password = '1' OR 1=1; rm -rf / <script>alert(1)</script>",
        ];
        for text in texts {
            assert_eq!(redacted(text), text);
        }
    }

    #[test]
    fn in_shadow_it_is_only_told() {
        let document = Bytes::from_static(b"{\"input\":\"AKIAIOSFODNN7EXAMPLE\"}");
        let metrics = Metrics::new().unwrap();
        let (after, found) = redaction(&[], true).apply(document.clone(), &metrics);
        assert_eq!((after, found.map(|found| found.is_shadow)), (document, Some(true)));
        assert_eq!(metrics.secrets.with_label_values(&["aws-access-key", "would_redact"]).get(), 1);
    }

    proptest! {
        /// Whatever is looked for, what was JSON is JSON, and all but the insides of strings is as it was.
        #[test]
        fn json_stays_json(
            texts in prop::collection::vec("[ab\"\\\\\n1 é]{0,12}", 1..6),
            number: u32,
            pattern in prop::sample::select(vec!["a", "[0-9]+", "\"", "\\\\+", "n", ".+", "[^a]", "b\"", "[\\x80-\\xff]"]),
        ) {
            let document = json!({"a": texts, "b": number, "1": {"n": [true, null]}});
            let redaction = redaction(&[("x", pattern)], false);
            let (after, _) = redaction.apply(document.to_string().into(), &Metrics::new().unwrap());
            let after: Value = serde_json::from_slice(&after).unwrap();
            prop_assert_eq!((&after["b"], after["a"].as_array().unwrap().len()), (&json!(number), texts.len()));
            prop_assert_eq!(&after["1"]["n"], &json!([true, null]));
        }
    }
}
