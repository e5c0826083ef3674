//! Bounds the nesting of a JSON text before any parser recurses into it.

/// Deepest nesting of a request.
pub(super) const MAX_DEPTH: usize = 64;

/// Whether brackets nest deeper than [`MAX_DEPTH`]. Says nothing about validity.
pub(super) fn is_too_deep(json: &[u8]) -> bool {
    let (mut depth, mut rest) = (0_usize, json);
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'"' => rest = after_string(rest),
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// What comes after a string that has begun: most of a request is in strings, which are passed over many bytes at a time.
fn after_string(mut rest: &[u8]) -> &[u8] {
    while let Some(end) = memchr::memchr2(b'"', b'\\', rest) {
        let is_escape = rest[end] == b'\\';
        rest = rest.get(end + 1 + usize::from(is_escape)..).unwrap_or_default();
        if !is_escape {
            return rest;
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_itself_is_allowed() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(!is_too_deep(nested(MAX_DEPTH).as_bytes()));
        assert!(is_too_deep(nested(MAX_DEPTH + 1).as_bytes()));
    }

    #[test]
    fn brackets_in_strings_do_not_count() {
        let text = format!("[\"\\\"{}\"]", "[".repeat(1000));
        assert!(!is_too_deep(text.as_bytes()));
    }

    #[test]
    fn siblings_do_not_add_up() {
        assert!(!is_too_deep("[]".repeat(1000).as_bytes()));
    }
}
