//! The strings of a JSON document, by where they are: what is looked for is looked for in them, as they are written.

use std::ops::Range;

/// From which length on a string that is nothing but Base64 is a picture or a sound, bytes: what looks like a secret in there is chance.
const BINARY_BYTES: usize = 4 * 1024;
/// How the address begins that such a string may have before it (RFC 2397).
const DATA_URL: &[u8] = b"data:";
/// Longest beginning of such an address, up to its comma, bytes.
const MAX_DATA_URL_BYTES: usize = 256;

/// The inside of the next string from a place on that is no field's name.
pub(super) fn next_value(document: &[u8], mut from: usize) -> Option<Range<usize>> {
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

/// Whether a string is no text at all.
pub(super) fn is_binary(string: &[u8]) -> bool {
    let start = match string.starts_with(DATA_URL) {
        true => {
            string.iter().take(MAX_DATA_URL_BYTES).position(|byte| *byte == b',').map_or(0, |comma| comma + 1)
        }
        false => 0,
    };
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    string.len() >= BINARY_BYTES && string[start..].iter().all(is_base64)
}

/// What a string is made of: characters and escapes.
pub(super) struct Units<'a> {
    document: &'a [u8],
    at: usize,
}

impl<'a> Units<'a> {
    /// From a place on where one begins.
    pub(super) const fn from(document: &'a [u8], at: usize) -> Self {
        Self { document, at }
    }

    /// Whether one begins at a place, of places in their order.
    pub(super) fn begin_at(&mut self, place: usize) -> bool {
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

    /// Where the first one begins that was not gone through.
    pub(super) const fn next(&self) -> usize {
        self.at
    }
}
