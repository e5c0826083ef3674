//! What secrets look like, and where they are in a text.

use super::strings::{Units, is_binary, next_value};
use codecrucible_contract as contract;
use regex_automata::Input;
use regex_automata::meta::Regex;
use std::ops::Range;

/// Longest secret that is looked for, bytes. A private key of RSA with 8192 bits has 6,400.
pub(super) const MAX_SECRET_BYTES: usize = 16 * 1024;
/// How much of a text is looked at at once, bytes: what may become a secret is followed to the end of what is looked at, for each that is found before.
const WINDOW_BYTES: usize = 2 * MAX_SECRET_BYTES;
/// Most secrets of a document. Beyond, what follows one in its string is taken for secret too.
const MAX_SECRETS: usize = 4096;
/// Most places in one string, where something is found that begins inside of an escape, behind which is looked again: each may look at all the rest.
const MAX_CUT: usize = 64;

/// As a policy has them, made ready.
pub(super) struct Patterns {
    regex: Regex,
    names: Vec<String>,
}

/// A secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Secret {
    pub(super) pattern: usize,
    pub(super) place: Range<usize>,
}

impl Patterns {
    /// Nothing where one of them is wrong, which was checked before.
    pub(super) fn new(policy: &contract::Redaction) -> Option<Self> {
        let names = policy.names().map(str::to_owned).collect();
        Some(Self { regex: policy.regex().ok()?, names })
    }

    /// What a pattern is called.
    pub(super) fn name(&self, pattern: usize) -> &str {
        &self.names[pattern]
    }

    /// Whether there is anything at all.
    pub(super) fn are_in(&self, text: &[u8]) -> bool {
        self.regex.is_match(text)
    }

    /// All secrets of a document, in their order.
    pub(super) fn all(&self, document: &[u8]) -> Vec<Secret> {
        let mut secrets = Vec::new();
        // Where strings are is looked for only where there is something to be found: mostly there is not.
        if !self.are_in(document) {
            return secrets;
        }
        let mut rest = 0;
        while let Some(string) = next_value(document, rest) {
            rest = string.end + 1;
            let mut search = self.search(document, string.clone());
            search.found = secrets.len();
            let first = search.next();
            if first.is_some() && !is_binary(&document[string]) {
                secrets.extend(first);
                secrets.extend(search);
            }
        }
        secrets
    }

    /// Those in one string, of which a part is looked at that begins with a character or an escape.
    pub(super) fn search<'a>(&'a self, document: &'a [u8], part: Range<usize>) -> Search<'a> {
        let units = Units::from(document, part.start);
        Search { regex: &self.regex, document, from: part.start, end: part.end, units, cut: 0, found: 0 }
    }
}

/// The secrets in one string, each a whole number of characters and escapes.
pub(super) struct Search<'a> {
    regex: &'a Regex,
    document: &'a [u8],
    from: usize,
    end: usize,
    units: Units<'a>,
    cut: usize,
    found: usize,
}

impl Iterator for Search<'_> {
    type Item = Secret;

    fn next(&mut self) -> Option<Secret> {
        loop {
            let until = self.end.min(self.from + WINDOW_BYTES);
            let Some(found) = self.regex.find(Input::new(self.document).range(self.from..until)) else {
                if until == self.end {
                    return None;
                }
                self.from = until - MAX_SECRET_BYTES;
                continue;
            };
            if found.end() == until && until < self.end && found.start() > self.from {
                // There may be more of it.
                self.from = found.start();
                continue;
            }
            self.from = found.end();
            if !self.units.begin_at(found.start()) {
                // It begins inside of an escape; what is behind that may be one.
                self.cut += 1;
                if self.cut <= MAX_CUT {
                    self.from = self.units.next().min(self.end);
                }
            } else if self.units.begin_at(found.end()) {
                self.found += 1;
                let is_too_many = self.found > MAX_SECRETS;
                self.from = if is_too_many { self.end } else { self.from };
                return Some(Secret { pattern: found.pattern().as_usize(), place: found.start()..self.from });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where secrets are, from and to.
    fn found(text: &str) -> Vec<(usize, usize)> {
        let policy = contract::Redaction { is_shadow: false, answers: None, patterns: Vec::new() };
        let secrets = Patterns::new(&policy).unwrap().all(text.as_bytes());
        secrets.into_iter().map(|secret| (secret.place.start, secret.place.end)).collect()
    }

    #[test]
    fn secrets_are_found_wherever_they_are_in_a_long_text() {
        let key = format!("-----BEGIN PRIVATE KEY-----{}-----END PRIVATE KEY-----", "z".repeat(6_400));
        for secret in ["AKIAIOSFODNN7EXAMPLE", &key] {
            for before in [0, WINDOW_BYTES - 30, WINDOW_BYTES - 10, WINDOW_BYTES, 3 * WINDOW_BYTES - 1] {
                let text = format!("\"{} {secret} {}\"", "z".repeat(before), "z ".repeat(WINDOW_BYTES));
                assert_eq!(found(&text), [(before + 2, before + 2 + secret.len())], "{before}");
            }
        }
    }

    #[test]
    fn of_far_too_many_the_rest_of_the_string_is_taken_with_the_last() {
        let secret = "-----BEGIN PRIVATE KEY----- AKIAIOSFODNN7EXAMPLE ";
        let text = format!("\"{}\"", secret.repeat(MAX_SECRETS + 100));
        let places = found(&text);
        assert_eq!((places.len(), places[MAX_SECRETS].1), (MAX_SECRETS + 1, text.len() - 1));
    }
}
