//! A limit as tests see it.

use codecrucible_contract::{Algorithm, Limit, Subject, Unit, WithoutStore};

/// So many requests of each client in a day, of which none comes back while a test runs, not even at midnight.
pub(super) fn daily(name: &str, count: u64) -> Limit {
    Limit {
        name: name.into(),
        routes: Vec::new(),
        models: Vec::new(),
        namespaces: Vec::new(),
        except_namespaces: Vec::new(),
        per: Subject::Client,
        unit: Unit::Requests,
        algorithm: Algorithm::TokenBucket,
        limit: count,
        window_ms: 86_400_000,
        burst: count,
        is_shadow: false,
        without_store: WithoutStore::Local,
    }
}
