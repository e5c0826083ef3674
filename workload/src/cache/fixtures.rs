//! What tests of kept answers share.

use codecrucible_contract::{CacheRule, CachedRequests, SharedBy};

/// A rule for whatever is asked deterministically.
pub(super) fn rule(name: &str) -> CacheRule {
    CacheRule {
        name: name.into(),
        routes: Vec::new(),
        models: Vec::new(),
        namespaces: Vec::new(),
        requests: CachedRequests::Deterministic,
        shared_by: SharedBy::Client,
        ttl_ms: 60_000,
        epoch: 0,
    }
}
