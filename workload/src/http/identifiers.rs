//! Identifiers and times in answers.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::time::{SystemTime, UNIX_EPOCH};

/// An identifier that nobody else has: a prefix and 144 random bits.
pub(super) fn unique(prefix: &str) -> String {
    let mut bytes = [0_u8; 18];
    // Identifiers only tell answers apart; without randomness they would still be well-formed.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    format!("{prefix}-{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// Seconds since 1970.
pub(super) fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
