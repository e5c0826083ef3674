//! How deep a rule may be. Whoever reads one does so by recursion, a stack has an end, and its end is that of the process.

/// Deepest nesting of brackets.
const MAX_NESTING: usize = 32;
/// Most names, numbers and operators' characters: a chain of these is as deep as it is long.
const MAX_WORDS: usize = 1_000;

/// Whether a rule is flat enough to be read, whatever it says.
pub(super) fn check(rule: &str) -> Result<(), String> {
    // What ends a line for one reader and not for another one hides what follows.
    if rule.chars().any(|one| one.is_control() && one != '\n' && one != '\t') {
        return Err("has a control character other than the end of a line and a tabulator".into());
    }
    let (mut nesting, mut words, mut is_in_word) = (0_usize, 0_usize, false);
    let mut rest = rule.chars();
    while let Some(character) = rest.next() {
        let was_in_word = std::mem::take(&mut is_in_word);
        match character {
            '"' => skip_text(&mut rest),
            '/' if rest.as_str().starts_with('/') => {
                rest.by_ref().take_while(|one| *one != '\n').for_each(drop)
            }
            '(' | '[' | '{' => nesting += 1,
            ')' | ']' | '}' => nesting = nesting.saturating_sub(1),
            ',' | ';' | ':' => {}
            blank if blank.is_whitespace() => {}
            letter if letter.is_alphanumeric() || letter == '_' => {
                is_in_word = true;
                words += usize::from(!was_in_word);
            }
            _ => words += 1,
        }
        if nesting > MAX_NESTING {
            return Err(format!("has brackets more than {MAX_NESTING} deep"));
        }
        if words > MAX_WORDS {
            return Err(format!(
                "has more than {MAX_WORDS} names, numbers and operators; make several of it"
            ));
        }
    }
    Ok(())
}

/// To the end of a text, past what is escaped in it.
fn skip_text(rest: &mut std::str::Chars<'_>) {
    while let Some(character) = rest.next() {
        match character {
            '"' => return,
            '\\' => drop(rest.next()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_texts_and_comments_does_not_count() {
        let brackets = "(".repeat(MAX_NESTING + 1);
        assert!(check(&brackets).is_err());
        assert_eq!(check(&format!("\"{brackets}\"")), Ok(()));
        assert_eq!(check(&format!("\"\\\"{brackets}\"")), Ok(()), "an escaped quote ends no text");
        assert_eq!(check(&format!("// {brackets}\n")), Ok(()));
        assert!(check(&format!("// x\n{brackets}")).is_err(), "a comment ends with its line");
        assert_eq!(check(&"()".repeat(1_000)), Ok(()));
    }

    #[test]
    fn nothing_hides_behind_a_character_that_ends_a_comment_for_the_parser_alone() {
        assert!(check(&format!("// x\r{}", "(".repeat(MAX_NESTING + 1))).is_err());
        for hidden in ['\r', '\u{b}', '\u{c}', '\u{85}', '\0'] {
            assert!(check(&format!("// x{hidden}")).is_err(), "{hidden:?}");
        }
    }

    #[test]
    fn chains_are_bounded_too() {
        assert_eq!(check(&"name ".repeat(MAX_WORDS)), Ok(()));
        for chain in ["name ", ".", "!", "a.", "if x then "] {
            assert!(check(&chain.repeat(MAX_WORDS + 1)).is_err(), "{chain}");
        }
    }
}
