//! Goes through JSON text (RFC 8259) once, and copies none of it: a request is mostly one long string, and is passed on as it came.

use crate::request_error::RequestError;
use std::borrow::Cow;

/// Deepest nesting of a request.
const MAX_DEPTH: usize = 64;

/// Whether a key is a field's name to those who ignore case: some do also for letters that are not ASCII but have such a lower case (Go does).
pub(crate) fn is_spelling_of(key: &str, field: &str) -> bool {
    if key.is_ascii() {
        return key.eq_ignore_ascii_case(field);
    }
    let folded = |letter: char| match letter {
        'ſ' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    key.chars().map(folded).eq(field.chars())
}

/// The fields of an object, each with its value as it is written; nothing for what is none, or has more than `most`.
pub(crate) fn fields(text: &str, most: usize) -> Option<Vec<(Cow<'_, str>, &str)>> {
    let (mut fields, mut json) = (Vec::new(), Json::new(text));
    json.object(|json, key| {
        if fields.len() == most {
            return Err(json.expected("fewer fields"));
        }
        fields.push((key, json.value()?));
        Ok(())
    })
    .ok()?;
    json.end().ok()?;
    Some(fields)
}

/// Whether it is a document that any parser reads.
pub(crate) fn is_json(document: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(document) else { return false };
    let mut json = Json::new(text);
    json.value().and_then(|_| json.end()).is_ok()
}

/// What was read, or why it could not be.
pub(crate) type Read<T> = Result<T, RequestError>;

/// A place in a text.
pub(crate) struct Json<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Json<'a> {
    /// Before a document.
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// Where the next value begins, bytes.
    pub(crate) fn position(&mut self) -> usize {
        self.skip_space();
        self.at
    }

    /// The first byte of the next value, which tells its kind.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.byte()
    }

    /// Goes through an object. Whoever takes a field has to take its value.
    pub(crate) fn object(&mut self, mut field: impl FnMut(&mut Self, Cow<'a, str>) -> Read<()>) -> Read<()> {
        self.members(|json, key| {
            let key = match key.contains('\\') {
                true => Cow::Owned(json.decoded(key)?),
                false => Cow::Borrowed(key.trim_matches('"')),
            };
            field(json, key)
        })
    }

    /// Goes through an array. Whoever takes an element has to take its value.
    pub(crate) fn array(&mut self, mut element: impl FnMut(&mut Self, usize) -> Read<()>) -> Read<()> {
        self.open(b'[', "an array")?;
        if self.closes(b']') {
            return Ok(());
        }
        for index in 0.. {
            element(self, index)?;
            if !self.goes_on(b']')? {
                break;
            }
        }
        Ok(())
    }

    /// Takes a value, whatever it is, and gives its text.
    pub(crate) fn value(&mut self) -> Read<&'a str> {
        let first = self.peek();
        let start = self.at;
        match first {
            Some(b'"') => self.string()?,
            Some(b'{') => self.members(|json, _| json.value().map(drop))?,
            Some(b'[') => self.array(|json, _| json.value().map(drop))?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'n') => self.word("null")?,
            _ => return Err(self.expected("a value")),
        }
        Ok(&self.text[start..self.at])
    }

    /// After the document there is nothing.
    pub(crate) fn end(&mut self) -> Read<()> {
        if self.peek().is_some() { Err(self.expected("the end")) } else { Ok(()) }
    }

    /// The text of a string that was taken.
    pub(crate) fn decoded(&self, string: &str) -> Read<String> {
        serde_json::from_str(string).map_err(|_| self.expected("a string without a lone surrogate before"))
    }

    /// Goes through an object whose keys are given as they are written.
    fn members(&mut self, mut member: impl FnMut(&mut Self, &'a str) -> Read<()>) -> Read<()> {
        self.open(b'{', "an object")?;
        if self.closes(b'}') {
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.expected("a key"));
            }
            let start = self.at;
            self.string()?;
            let key = &self.text[start..self.at];
            if self.peek() != Some(b':') {
                return Err(self.expected("a colon"));
            }
            self.at += 1;
            member(self, key)?;
            if !self.goes_on(b'}')? {
                return Ok(());
            }
        }
    }

    fn open(&mut self, bracket: u8, what: &str) -> Read<()> {
        if self.peek() != Some(bracket) {
            return Err(self.expected(what));
        }
        if self.depth == MAX_DEPTH {
            return Err(RequestError::body(format!("the body nests deeper than {MAX_DEPTH} levels")));
        }
        self.at += 1;
        self.depth += 1;
        Ok(())
    }

    fn closes(&mut self, bracket: u8) -> bool {
        let is_closed = self.peek() == Some(bracket);
        self.at += usize::from(is_closed);
        self.depth -= usize::from(is_closed);
        is_closed
    }

    fn goes_on(&mut self, bracket: u8) -> Read<bool> {
        if self.closes(bracket) {
            return Ok(false);
        }
        if self.byte() != Some(b',') {
            return Err(self.expected("a comma or the end of the list"));
        }
        self.at += 1;
        Ok(true)
    }

    /// Takes a string, which is there.
    fn string(&mut self) -> Read<()> {
        self.at += 1;
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let Some(plain) = memchr::memchr2(b'"', b'\\', rest) else {
                self.at = self.text.len();
                return Err(self.expected("the end of a string"));
            };
            // Compilers make this a loop over many bytes at a time, as long as it looks at all of them.
            if rest[..plain].iter().fold(b' ', |least, byte| least.min(*byte)) < b' ' {
                return Err(self.expected("a string without control characters"));
            }
            self.at += plain;
            if self.byte() == Some(b'"') {
                self.at += 1;
                return Ok(());
            }
            self.escape()?;
        }
    }

    /// Takes an escape, which is there.
    fn escape(&mut self) -> Read<()> {
        let length = match self.text.as_bytes().get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => 6,
            _ => return Err(self.expected("an escape")),
        };
        let digits = self.text.as_bytes().get(self.at + 2..self.at + length);
        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err(self.expected("an escape"));
        }
        self.at += length;
        Ok(())
    }

    /// Takes a number, whatever its size.
    fn number(&mut self) -> Read<()> {
        self.at += usize::from(self.byte() == Some(b'-'));
        match self.digits() {
            1 => {}
            0 => return Err(self.expected("a digit")),
            count if self.text.as_bytes()[self.at - count] != b'0' => {}
            _ => return Err(self.expected("a number without leading zeros")),
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.some_digits()?;
        }
        Ok(())
    }

    fn some_digits(&mut self) -> Read<()> {
        if self.digits() == 0 { Err(self.expected("a digit")) } else { Ok(()) }
    }

    fn digits(&mut self) -> usize {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    fn word(&mut self, word: &str) -> Read<()> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.expected("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn expected(&self, what: &str) -> RequestError {
        let before = &self.text.as_bytes()[..self.at];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
        RequestError::body(format!(
            "the body is not a valid JSON request: expected {what} at line {line} column {column}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    fn is_valid(text: &str) -> bool {
        let mut json = Json::new(text);
        json.value().and_then(|_| json.end()).is_ok()
    }

    /// Text that is JSON, or nearly.
    fn nearly_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?",
            "\"([ -!#-\\[\\]-~äß€]|\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-fA-F]{4}){0,8}\"",
            Just("true".to_owned()),
            Just("false".to_owned()),
            Just("null".to_owned()),
        ];
        let tree = leaf.prop_recursive(6, 48, 5, |inner| {
            let member = ("\"[a-z]{0,3}\"", inner.clone()).prop_map(|(key, value)| format!("{key} :{value}"));
            prop_oneof![
                prop::collection::vec(inner, 0..5).prop_map(|list| format!("[{}]", list.join(" , "))),
                prop::collection::vec(member, 0..5).prop_map(|list| format!("{{{}}}", list.join(",\n"))),
            ]
        });
        let change = prop::option::of((any::<prop::sample::Index>(), "[\\]\\[{}\",:0-9.eE+\\\\u\u{1}\t -]?"));
        (tree, change).prop_map(|(text, change)| match change {
            None => text,
            Some((index, with)) => {
                let mut characters: Vec<String> = text.chars().map(String::from).collect();
                let index = index.index(characters.len());
                characters[index] = with;
                characters.concat()
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_valid_is_what_another_parser_says_is(text in nearly_json()) {
            let other = serde_json::from_str::<IgnoredAny>(&text).is_ok();
            prop_assert_eq!(is_valid(&text), other, "{}", text);
        }

        #[test]
        fn any_text_is_valid_or_not_to_both(text in "(?s).{0,64}") {
            let other = serde_json::from_str::<IgnoredAny>(&text).is_ok();
            prop_assert_eq!(is_valid(&text), other, "{}", text);
        }
    }

    #[test]
    fn values_are_given_as_they_are_written() {
        let mut json = Json::new(" {\"a\" : [1.50, \"\\u0041\"] , \"\\u0062\":{} } ");
        let mut seen = Vec::new();
        json.object(|json, key| {
            seen.push((key.into_owned(), json.value()?.to_owned()));
            Ok(())
        })
        .unwrap();
        json.end().unwrap();
        let expected = [("a", "[1.50, \"\\u0041\"]"), ("b", "{}")];
        assert_eq!(seen, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_place() {
        let mut json = Json::new("{\"a\":\n [1,]}");
        let message = json.value().unwrap_err().message;
        assert!(message.ends_with("expected a value at line 2 column 5"), "{message}");
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(is_valid(&deep(MAX_DEPTH)) && !is_valid(&deep(MAX_DEPTH + 1)));
        assert!(!is_valid(&"[".repeat(10_000_000)));
        let beside = format!("[{}1]", "[1],".repeat(1_000));
        assert!(is_valid(&beside), "one after the other is not deep");
    }
}
