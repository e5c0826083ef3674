//! What somebody else says, as far as it is passed on.

/// Longest part of somebody else's message that is passed on, characters.
const MAX_SAID_CHARACTERS: usize = 300;

/// The beginning of it.
pub(crate) fn shortened(said: &str) -> String {
    said.chars().take(MAX_SAID_CHARACTERS).collect()
}
