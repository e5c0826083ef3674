//! Who may call, and for how long.

use crate::duration::Duration;
use serde::{Deserialize, Serialize};

/// Who may call, and for how long.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Auth {
    /// Life of an access token, `60s` to `1d`.
    pub access_token_lifetime: Duration,
}

impl Default for Auth {
    fn default() -> Self {
        Self { access_token_lifetime: Duration::literal("15m") }
    }
}
