//! How many tokens a request may use, before anybody counted.

/// Bytes that are taken for one token.
const BYTES_PER_TOKEN: u64 = 4;
/// Tokens of an answer where the request names no limit.
const UNLIMITED_ANSWER_TOKENS: u64 = 1_024;

/// Tokens that a text of so many bytes may be.
pub fn estimated_tokens(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(BYTES_PER_TOKEN)
}

/// Tokens that an answer may be, for a request that names this limit and this number of answers.
pub fn estimated_answer_tokens(limit: Option<u64>, answers: Option<u64>) -> u64 {
    limit.unwrap_or(UNLIMITED_ANSWER_TOKENS).saturating_mul(answers.unwrap_or(1).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_request_names_no_limit_one_is_assumed_for_each_answer() {
        assert_eq!(estimated_answer_tokens(None, None), UNLIMITED_ANSWER_TOKENS);
        assert_eq!(estimated_answer_tokens(Some(10), Some(3)), 30);
        assert_eq!(estimated_answer_tokens(Some(u64::MAX), Some(2)), u64::MAX);
        assert_eq!(estimated_tokens(9), 3);
    }
}
