//! What the operator writes and the workload reads.
//!
//! The operator validates a bundle with the code that the workload uses to read it, so the two cannot
//! disagree about what is valid. Nothing here does IO or knows Kubernetes or HTTP.

mod access;
mod acknowledgement;
mod bundle;
mod cache;
mod canonical;
pub mod certificates;
mod clients;
mod concurrency;
mod hash;
pub mod layout;
mod limits;
mod packing;
mod policy;
mod redaction;
mod routing;
pub mod secrets;
mod served;
mod store;
mod validate;
pub mod voices;

pub use access::{
    ACCESS_SCHEMA, Access, AccessDocument, AccessRule, Enforcement, MAX_ACCESS_BYTES,
    MAX_ACCESS_DOCUMENT_BYTES, MAX_ACCESS_DOCUMENTS, MAX_ACCESS_RULE_BYTES, MAX_ACCESS_RULES, access_schema,
    entity,
};
pub use acknowledgement::{
    Acknowledgement, MAX_ACKNOWLEDGEMENT_BYTES, Refused, STATUS_PATH, ShadowAcknowledgement,
    StoreAcknowledgement,
};
pub use bundle::{Bundle, BundleError, FORMAT, MAX_BUNDLE_BYTES, Revision};
pub use cache::{Cache, CacheRule, CachedRequests, CachedRoute, SharedAnswers, SharedBy, WarmUp};
pub use canonical::canonical;
pub use clients::{Clients, MAX_CLIENTS, MAX_CLIENTS_BYTES, RegisteredClient};
pub use concurrency::{Concurrency, Queue};
pub use hash::sha256_hex;
pub use limits::{
    Algorithm, Limit, LimitedRoute, Limits, MAX_LIMIT, MAX_LIMITS, MAX_WINDOW_MS, MOST_OWED, Subject, Unit,
    WithoutStore,
};
pub use packing::{MAX_PACKED_BYTES, Packed};
pub use policy::{
    AccessLog, Backend, BackendKind, CircuitBreaker, Embedded, Identity, LogLevel, Mode, Model,
    Observability, Ollama, Policy, Protocol, Remote, Synthesis, Timeouts, Traces, Voice,
};
pub use redaction::{Redaction, RedactionMode, SecretPattern};
pub use routing::{Affinity, Automatic, Routing, Task, Tier, Urgency, UrgencyRule};
pub use served::{SERVED_WITHIN_MILLISECONDS, Served};
pub use store::Store;
pub use validate::Invalid;

/// The gauge of requests that a replica is answering, by which an autoscaler may count.
pub const REQUESTS_IN_FLIGHT_METRIC: &str = "codecrucible_requests_in_flight";
