//! What secrets look like, and where they are in a text.

use super::strings::{Units, is_binary, next_value};
use codecrucible_contract as contract;
use regex_automata::Input;
use regex_automata::meta::Regex;
use std::ops::Range;

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

    /// What is written in place of a secret, and what it is called.
    pub(super) fn name(&self, pattern: usize) -> &str {
        &self.names[pattern]
    }

    /// All secrets of a document, in their order.
    pub(super) fn all(&self, document: &[u8]) -> Vec<Secret> {
        // Where strings are is looked for only where there is something to be found: mostly there is not.
        if !self.regex.is_match(document) {
            return Vec::new();
        }
        let mut secrets = Vec::new();
        let mut rest = 0;
        while let Some(string) = next_value(document, rest) {
            rest = string.end + 1;
            let mut search = self.search(document, string.clone());
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
        Search { regex: &self.regex, document, from: part.start, end: part.end, units, cut: 0 }
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
}

impl Iterator for Search<'_> {
    type Item = Secret;

    fn next(&mut self) -> Option<Secret> {
        loop {
            let found = self.regex.find(Input::new(self.document).range(self.from..self.end))?;
            self.from = found.end();
            if !self.units.begin_at(found.start()) {
                // It begins inside of an escape; what is behind that may be one.
                self.cut += 1;
                if self.cut <= MAX_CUT {
                    self.from = self.units.next().min(self.end);
                }
            } else if self.units.begin_at(found.end()) {
                return Some(Secret { pattern: found.pattern().as_usize(), place: found.range() });
            }
        }
    }
}
