//! Tokens of models that one request used.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tokens of models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsedTokens {
    /// Read.
    pub prompt: u64,
    /// Written.
    pub completion: u64,
}

impl UsedTokens {
    /// Both.
    pub fn total(self) -> u64 {
        self.prompt.saturating_add(self.completion)
    }
}

/// Where they are noted when an answer ends, for who tells of the request.
#[derive(Clone, Debug, Default)]
pub struct TokenNote(Arc<(AtomicU64, AtomicU64)>);

impl TokenNote {
    /// Notes what was used.
    pub fn set(&self, used: UsedTokens) {
        self.0.0.store(used.prompt, Ordering::Relaxed);
        self.0.1.store(used.completion, Ordering::Relaxed);
    }

    /// What was noted.
    pub fn get(&self) -> UsedTokens {
        UsedTokens { prompt: self.0.0.load(Ordering::Relaxed), completion: self.0.1.load(Ordering::Relaxed) }
    }
}
