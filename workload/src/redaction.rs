//! Takes secrets out of a request before a backend sees it: what looks like one, inside of a JSON string, is replaced by its pattern's name. No request
//! is ever refused for that.
//!
//! The document is gone through once. Each string is searched by itself, so that nothing that is found in one can hide what is in another; names of fields are
//! left alone.

use bytes::{Bytes, BytesMut};
use codecrucible_contract as contract;
use regex_automata::Input;
use regex_automata::meta::Regex;
use std::ops::Range;

/// Most places in one string, where something is found that begins inside of an escape, behind which is looked again: each may look at all the rest.
const MAX_CUT: usize = 64;

/// As a policy has it, made ready.
pub struct Redaction {
    regex: Regex,
    names: Vec<String>,
    is_shadow: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// How often each pattern was, by its name.
    pub counts: Vec<(String, u64)>,
    /// Whether nothing was done about it.
    pub is_shadow: bool,
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
    pub fn apply(&self, document: Bytes) -> (Bytes, Option<Found>) {
        let secrets = self.secrets(&document);
        if secrets.is_empty() {
            return (document, None);
        }
        let mut counts = vec![0; self.names.len()];
        secrets.iter().for_each(|(pattern, _)| counts[*pattern] += 1);
        let counts = self.names.iter().cloned().zip(counts).filter(|(_, count)| *count > 0).collect();
        let found = Found { counts, is_shadow: self.is_shadow };
        (if self.is_shadow { document } else { self.without(&document, &secrets) }, Some(found))
    }

    /// All of them, in their order.
    fn secrets(&self, document: &[u8]) -> Vec<Secret> {
        // Where strings are is looked for only where there is something to be found: mostly there is not.
        if !self.regex.is_match(document) {
            return Vec::new();
        }
        let mut secrets = Vec::new();
        let mut rest = 0;
        while let Some(text) = next_value(document, rest) {
            rest = text.end + 1;
            self.search(document, text, &mut secrets);
        }
        secrets
    }

    /// Those in one string.
    fn search(&self, document: &[u8], text: Range<usize>, secrets: &mut Vec<Secret>) {
        let (mut units, mut from, mut cut) = (Units { document, at: text.start }, text.start, 0);
        while let Some(found) = self.regex.find(Input::new(document).range(from..text.end)) {
            from = found.end();
            if !units.begin_at(found.start()) {
                // It begins inside of an escape; what is behind that may be one.
                cut += 1;
                if cut <= MAX_CUT {
                    from = units.at.min(text.end);
                }
            } else if units.begin_at(found.end()) {
                secrets.push((found.pattern().as_usize(), found.range()));
            }
        }
    }

    fn without(&self, document: &[u8], secrets: &[Secret]) -> Bytes {
        let (mut redacted, mut from) = (BytesMut::with_capacity(document.len()), 0);
        for (pattern, place) in secrets {
            redacted.extend_from_slice(&document[from..place.start]);
            redacted.extend_from_slice(format!("[REDACTED:{}]", self.names[*pattern]).as_bytes());
            from = place.end;
        }
        redacted.extend_from_slice(&document[from..]);
        redacted.freeze()
    }
}

impl Found {
    /// The names, for a person.
    pub fn names(&self) -> String {
        self.counts.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// The inside of the next string from a place on that is no field's name.
fn next_value(document: &[u8], mut from: usize) -> Option<Range<usize>> {
    loop {
        let start = from + memchr::memchr(b'"', document.get(from..)?)? + 1;
        let end = end_of_string(document, start)?;
        let after = document[end + 1..].iter().find(|byte| !byte.is_ascii_whitespace());
        if after != Some(&b':') {
            return Some(start..end);
        }
        from = end + 1;
    }
}

/// Where the quote is that ends a string.
fn end_of_string(document: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', document.get(from..)?)?;
        if document[at] == b'"' {
            return Some(at);
        }
        from = at + 2;
    }
}

/// What a string is made of: characters and escapes.
struct Units<'a> {
    document: &'a [u8],
    at: usize,
}

impl Units<'_> {
    /// Whether one begins at a place, of places in their order.
    fn begin_at(&mut self, place: usize) -> bool {
        while self.at < place {
            self.at += match (self.document[self.at], self.document.get(self.at + 1)) {
                (b'\\', Some(b'u')) => 6,
                (b'\\', _) => 2,
                _ => 1,
            };
        }
        let is_in_character = self.document.get(place).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
        self.at == place && !is_in_character
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
        let counts = vec![("aws-access-key".to_owned(), 2)];
        assert_eq!((after, found), (document, Some(Found { counts, is_shadow: true })));
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
