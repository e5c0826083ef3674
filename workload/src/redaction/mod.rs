//! Takes secrets out of what passes: what looks like one, inside of a JSON string, is replaced by its pattern's name. Nothing is ever refused for that.
//!
//! A document is gone through once. Each string is searched by itself, so that nothing that is found in one can hide what is in another; names of fields are
//! left alone. In streams a text comes in pieces: what may be the beginning of a secret waits there until that is known (`events`).

mod events;
mod found;
mod growing;
mod held;
mod patterns;
mod strings;
mod texts;
mod unfinished;

pub use events::RedactedEvents;
pub use found::{Found, FoundNote};

use crate::json::is_json;
use bytes::Bytes;
use codecrucible_contract as contract;
use held::spliced;
use patterns::{Patterns, Secret};
use std::sync::Arc;
use unfinished::Unfinished;

/// What is done about secrets in documents, as a policy has it, made ready.
pub struct Redaction {
    patterns: Arc<Patterns>,
    is_shadow: bool,
}

/// What is done about secrets in answers, which come in pieces too.
pub struct AnswerRedaction {
    documents: Redaction,
    unfinished: Unfinished,
    identity: String,
}

/// What is done with requests, and with answers; nothing where there is none. The policy was checked, so its patterns are good.
pub fn redactions(policy: Option<&contract::Redaction>) -> (Option<Redaction>, Option<AnswerRedaction>) {
    let Some((policy, patterns)) = policy.and_then(|policy| Some((policy, Patterns::new(policy)?))) else {
        return (None, None);
    };
    let patterns = Arc::new(patterns);
    let answers = policy.answers.and_then(|mode| {
        let is_shadow = mode == contract::RedactionMode::Shadow;
        let documents = Redaction { patterns: Arc::clone(&patterns), is_shadow };
        let identity = if is_shadow { String::new() } else { policy.all_patterns() };
        Some(AnswerRedaction { documents, unfinished: Unfinished::new(policy)?, identity })
    });
    (Some(Redaction { patterns, is_shadow: policy.is_shadow }), answers)
}

impl Redaction {
    /// A JSON document without secrets, and what was found in it, if anything.
    pub fn apply(&self, document: Bytes) -> (Bytes, Option<Found>) {
        let secrets = self.patterns.all(&document);
        self.without(document, secrets)
    }

    fn without(&self, document: Bytes, secrets: Vec<Secret>) -> (Bytes, Option<Found>) {
        if secrets.is_empty() {
            return (document, None);
        }
        let mut found = Found::new(self.is_shadow);
        secrets.iter().for_each(|secret| found.count(self.patterns.name(secret.pattern)));
        let changes = secrets.into_iter().map(|secret| (secret.place, self.in_place_of(secret.pattern)));
        (if self.is_shadow { document } else { spliced(&document, changes) }, Some(found))
    }

    fn in_place_of(&self, pattern: usize) -> String {
        format!("[REDACTED:{}]", self.patterns.name(pattern))
    }
}

impl AnswerRedaction {
    /// A whole document without secrets, and what was found in it, if anything. What is no JSON is one text.
    pub fn apply(&self, document: Bytes) -> (Bytes, Option<Found>) {
        let patterns = &self.documents.patterns;
        if patterns.are_in(&document) && !is_json(&document) {
            let secrets = patterns.search(&document, 0..document.len()).collect();
            return self.documents.without(document, secrets);
        }
        self.documents.apply(document)
    }

    /// By what answers differ out of which others were taken; nothing where none are.
    pub fn identity(&self) -> &str {
        &self.identity
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
        let patterns = patterns.iter().map(pattern).collect();
        let policy = contract::Redaction { is_shadow, answers: None, patterns };
        redactions(Some(&policy)).0.unwrap()
    }

    fn applied(redaction: &Redaction, document: &str) -> String {
        let (document, _) = redaction.apply(Bytes::copy_from_slice(document.as_bytes()));
        String::from_utf8(document.into()).unwrap()
    }

    /// What becomes of a text in a document.
    fn redacted(text: &str) -> String {
        let document = applied(&redaction(&[], false), &json!({"messages": [{"content": text}]}).to_string());
        let document: Value = serde_json::from_str(&document).unwrap();
        document["messages"][0]["content"].as_str().unwrap().to_owned()
    }

    fn letters(count: usize) -> String {
        "aB3".repeat(count.div_ceil(3))[..count].to_owned()
    }

    fn key(ends: &str) -> String {
        format!(
            "-----BEGIN RSA PRIVATE KEY-----{ends}{}{ends}a+/={ends}-----END RSA PRIVATE KEY-----",
            letters(64)
        )
    }

    #[test]
    fn what_looks_like_a_secret_is_replaced_by_its_name() {
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
            ("private-key", key("\n")),
            ("private-key", key("\r\n")),
            // As the arguments of a tool have it, and with its own headers.
            ("private-key", key("\\n")),
            ("private-key", key("\nProc-Type: 4,ENCRYPTED\n")),
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
    fn other_ways_to_write_json_make_no_difference() {
        for written in [key("\\n").replace('/', "\\/"), key("\\n").replace('+', "\\u002B")] {
            let document = format!("{{ \"a\" : \"{written}\" }}");
            assert_eq!(applied(&redaction(&[], false), &document), "{ \"a\" : \"[REDACTED:private-key]\" }");
        }
    }

    #[test]
    fn what_is_found_in_one_string_hides_nothing_in_another_and_names_of_fields_stay() {
        let redaction = redaction(&[("password", r"password=\S+"), ("rest", "begin.*")], false);
        let document = r#"{"password=a1":"begin: x","b":["password=hunter2","AKIAIOSFODNN7EXAMPLE"]}"#;
        let expected =
            r#"{"password=a1":"[REDACTED:rest]","b":["[REDACTED:password]","[REDACTED:aws-access-key]"]}"#;
        assert_eq!(applied(&redaction, document), expected);
    }

    #[test]
    fn an_escape_is_not_cut_in_two() {
        let redaction = redaction(&[("number", "[0-9]{4,}")], false);
        let document = "{\"a\":\"\\u30c91234\",\"b\":\"\\u12345678 12345\"}";
        assert_eq!(
            applied(&redaction, document),
            "{\"a\":\"\\u30c9[REDACTED:number]\",\"b\":\"\\u1234[REDACTED:number] [REDACTED:number]\"}"
        );
    }

    #[test]
    fn what_is_no_json_is_left_to_who_reads_it() {
        let redaction = redaction(&[("number", "[0-9]{4,}")], false);
        for document in
            ["{\"a\":\"\\u1\"12345", "\"1234", "1234\\", "\"\\", "\"\\u00112345\\\"", "\"\\u123456\" :"]
        {
            let _ = applied(&redaction, document);
        }
    }

    #[test]
    fn what_is_found_in_a_picture_is_chance() {
        let picture = format!("{}AKIAIOSFODNN7EXAMPLE=", "aB3+".repeat(1_100));
        for written in [picture.clone(), format!("data:image/png;base64,{picture}")] {
            assert_eq!(redacted(&written), written);
            assert_ne!(redacted(&format!("{written} ")), format!("{written} "), "a text");
        }
        assert_ne!(redacted(&picture[4_000..]), picture[4_000..], "too short for one");
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
        let document = Bytes::from_static(b"{\"input\":\"AKIAIOSFODNN7EXAMPLE AKIAIOSFODNN7EXAMPLE\"}");
        let (after, found) = redaction(&[], true).apply(document.clone());
        let mut expected = Found::new(true);
        (0..2).for_each(|_| expected.count("aws-access-key"));
        assert_eq!((after, found), (document, Some(expected)));
    }

    proptest! {
        /// Whatever is looked for, what was JSON is JSON, all but the insides of strings is as it was, and nothing is left to be found.
        #[test]
        fn json_stays_json_without_secrets(
            texts in prop::collection::vec("[ab\"\\\\\n\u{1}1 é]{0,12}", 1..6),
            number: u32,
            pattern in prop::sample::select(vec!["a{4,}", "[0-9]{4,}", "\\\\+[a-z]{3,}", "b.+a.", "[^a]{4,}", "[\\x80-\\xff]{4}"]),
        ) {
            let redaction = redaction(&[("x", pattern)], false);
            let document = json!({"a": texts, "b": number, "1": {"n": [true, null]}}).to_string();
            let written = applied(&redaction, &document);
            let after: Value = serde_json::from_str(&written).unwrap();
            prop_assert_eq!((&after["b"], after["a"].as_array().unwrap().len()), (&json!(number), texts.len()));
            prop_assert_eq!(&after["1"]["n"], &json!([true, null]));
            if pattern == "a{4,}" {
                prop_assert!(!after["a"].to_string().contains("aaaa"));
            }
        }
    }
}
