//! Whether the code of an answer cannot be right: it is in a language that is known here, and does not parse.

use super::code;

/// Longest code that is looked at, bytes: what is longer is not known to be wrong.
const MAX_EXAMINED_BYTES: usize = 64 * 1024;

/// Whether it is so. Takes long for code that is much broken: not for where requests wait.
pub fn is_unparsable(answer: &str) -> bool {
    let code = code::extract(answer);
    let language = code.language.filter(|_| code.text.len() <= MAX_EXAMINED_BYTES);
    language.and_then(|language| language.examine(&code.text)).is_some_and(|found| found.broken_bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_in_a_known_language_has_to_parse_unless_it_is_too_long_to_look_at() {
        assert!(is_unparsable("```python\ndef add(a, b:\n```"));
        assert!(!is_unparsable("```python\ndef add(a, b):\n    return a + b\n```"));
        assert!(!is_unparsable("```cobol\nADD A TO B:\n```") && !is_unparsable("def add(a, b:"));
        let long = format!("```python\ndef add(a, b:\n{}```", "x = 1\n".repeat(MAX_EXAMINED_BYTES / 6 + 1));
        assert!(!is_unparsable(&long));
    }
}
