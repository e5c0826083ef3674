//! The custom resources of group `codecrucible.dev`.
//!
//! The schema and its CEL rules state everything that one object can state about itself; what needs other
//! objects is checked by the operator. Nothing here talks to a server.

mod access_policy;
mod codecrucible;
pub mod conditions;
mod definitions;
mod duration;
mod explained;
mod model_backend;
pub mod names;
mod synthesis_client;

pub use access_policy::{
    AccessAction, AccessBinding, AccessConditions, AccessEnforcement, AccessHours, AccessPermission,
    AccessPolicy, AccessPolicySpec, AccessPolicyStatus, AccessRole, AccessSubject, AccessSubjectKind,
};
pub use codecrucible::{
    AccessInForce, AccessLog, Affinity, Auth, Automatic, Autoscaling, Cache, CacheMatch, CacheRule,
    CachedRequests, CachedRoute, Canary, CanaryStatus, CanaryStep, CertificateStatus, Clients, ClientsStatus,
    CodeCrucible, CodeCrucibleSpec, CodeCrucibleStatus, GatewayReference, Image, Ingress, IssuerReference,
    LimitAlgorithm, LimitMatch, LimitMode, LimitSubject, LimitUnit, LimitedRoute, LogLevel, Maintenance,
    Network, Observability, OnStoreFailure, Placement, PodMetadata, Policy, PolicyMode, PolicyStatus,
    Profile, PullPolicy, RateLimit, Redis, Rejection, Remediation, ReplicaPolicy, Rollout, RolloutPhase,
    RolloutStatus, Route, Routing, SecretMode, SecretPattern, SecretRedaction, ShadowStatus, SharedBy,
    Synthesis, SynthesisMode, Tls, TlsMode, Traces, Urgency, UrgencyMatch, UrgencyRule, Validation, Voice,
    WarmUp,
};
pub use definitions::definition_files;
pub use duration::{Duration, DurationError};
pub use model_backend::{
    BackendType, CircuitBreaker, Concurrency, EmbeddedModel, Model, ModelBackend, ModelBackendSpec, Ollama,
    Queue, SecretKeyReference, Task, Tier, Timeouts,
};
pub use synthesis_client::{
    Credentials, SynthesisClient, SynthesisClientSpec, SynthesisClientStatus, TargetReference,
};
