//! A model as clients know it.

use crate::telemetry::TokenCounters;

/// A model by the name that clients use, and the tokens that it is counted to use.
pub struct PublicModel {
    name: String,
    tokens: TokenCounters,
}

impl PublicModel {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its tokens are counted.
    pub fn tokens(&self) -> &TokenCounters {
        &self.tokens
    }
}

impl From<&str> for PublicModel {
    fn from(name: &str) -> Self {
        Self { name: name.to_owned(), tokens: TokenCounters::default() }
    }
}
