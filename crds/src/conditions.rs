//! Types of conditions and their reasons: the operator's vocabulary in `status`, Events and metrics.

/// The resource is valid, by itself and together with what it refers to.
pub const ACCEPTED: &str = "Accepted";
/// Enough replicas serve requests.
pub const AVAILABLE: &str = "Available";
/// Every ready replica said that it shows clients a certificate that is good.
pub const CERTIFICATE_VALID: &str = "CertificateValid";
/// What the service is reached by from outside the cluster took it on. Only where that is asked for.
pub const EXPOSED: &str = "Exposed";
/// Every ready replica said that it counts together with the others. Only where there is a Redis for that.
pub const STORE_CONNECTED: &str = "StoreConnected";
/// A change is on its way to the replicas.
pub const PROGRESSING: &str = "Progressing";
/// Every ready replica said that it runs the published policy.
pub const POLICY_SYNCED: &str = "PolicySynced";
/// Summary: accepted, applied and available.
pub const READY: &str = "Ready";
/// kstatus: work is going on; pipelines wait.
pub const RECONCILING: &str = "Reconciling";
/// kstatus: work cannot go on without a change; pipelines fail.
pub const STALLED: &str = "Stalled";

/// Valid.
pub const REASON_VALID: &str = "Valid";
/// A value breaks a rule; the message begins with the field's path.
pub const REASON_INVALID: &str = "Invalid";
/// Something that the resource refers to does not exist.
pub const REASON_REFERENCE_NOT_FOUND: &str = "ReferenceNotFound";
/// The cluster does not serve an API that the resource needs.
pub const REASON_API_NOT_SERVED: &str = "ApiNotServed";
/// An object of a child's name belongs to somebody else; it is left alone.
pub const REASON_NOT_OWNED: &str = "NotOwned";
/// The service lets no client of that namespace in.
pub const REASON_NAMESPACE_NOT_ALLOWED: &str = "NamespaceNotAllowed";
/// No service asks for it.
pub const REASON_NOT_SELECTED: &str = "NotSelected";
/// Of an access policy: a service that selects it only compares what is new.
pub const REASON_ONLY_COMPARED: &str = "OnlyCompared";
/// Every ready replica shows the certificate.
pub const REASON_SHOWN: &str = "Shown";
/// The certificate ends within days, and nobody has renewed it.
pub const REASON_EXPIRING: &str = "Expiring";
/// The certificate has ended.
pub const REASON_EXPIRED: &str = "Expired";
/// Every ready replica counts together with the others.
pub const REASON_CONNECTED: &str = "Connected";
/// A replica does without the store, and the message says why.
pub const REASON_NOT_CONNECTED: &str = "NotConnected";
/// `spec.tls.mode` is `Disabled`: nothing is encrypted.
pub const REASON_DISABLED: &str = "Disabled";
/// The Ingress has an address, and every Gateway took the route on.
pub const REASON_ROUTED: &str = "Routed";
/// Nobody has taken the Ingress or the route on yet.
pub const REASON_AWAITING_CONTROLLER: &str = "AwaitingController";
/// A Gateway does not take the route on; the message is its own.
pub const REASON_REFUSED: &str = "Refused";
/// Every ready replica knows the client.
pub const REASON_REGISTERED: &str = "Registered";
/// A replica was evicted that did not run what it was given. In Events only.
pub const REASON_REPLICA_EVICTED: &str = "ReplicaEvicted";
/// A replica was not evicted, because the operator has acted on too many services lately. In Events only.
pub const REASON_FUSE_BLOWN: &str = "FuseBlown";
/// A write to the API server failed; it is tried again.
pub const REASON_APPLY_FAILED: &str = "ApplyFailed";
/// Enough replicas are ready.
pub const REASON_MINIMUM_REPLICAS_AVAILABLE: &str = "MinimumReplicasAvailable";
/// Too few replicas are ready.
pub const REASON_REPLICAS_UNAVAILABLE: &str = "ReplicasUnavailable";
/// No replica is asked for.
pub const REASON_SCALED_TO_ZERO: &str = "ScaledToZero";
/// The deployment is rolling.
pub const REASON_ROLLING_OUT: &str = "RollingOut";
/// A new version waits until cert-manager has issued the certificate that it is to show.
pub const REASON_AWAITING_CERTIFICATE: &str = "AwaitingCertificate";
/// The deployment made no progress within its deadline.
pub const REASON_PROGRESS_DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";
/// New pods are tried out on a part of the requests.
pub const REASON_CANARY: &str = "Canary";
/// A rollout failed; the pods that ran before are back until the resource asks for other ones.
pub const REASON_ROLLED_BACK: &str = "RolledBack";
/// Nothing is left to do.
pub const REASON_STABLE: &str = "Stable";
/// Every ready replica runs the published policy.
pub const REASON_APPLIED: &str = "Applied";
/// Replicas are on their way to the published policy, or to know a client.
pub const REASON_PENDING: &str = "Pending";
/// A replica refuses its newest configuration, and goes on with the one before.
pub const REASON_REJECTED: &str = "Rejected";
/// A replica that is ready does not tell what it runs.
pub const REASON_UNREACHABLE: &str = "Unreachable";
/// No replica is ready, so nothing is known.
pub const REASON_NO_REPLICA: &str = "NoReplica";
/// Nothing was published yet.
pub const REASON_NOT_PUBLISHED: &str = "NotPublished";
/// Somebody else changes an object of the operator's whenever that is written. In Events; `Accepted` says it in its message.
pub const REASON_CONTESTED: &str = "Contested";
/// The operator knows of the resource, and has not looked at it yet.
pub const REASON_QUEUED: &str = "Queued";
/// `spec.maintenance.paused` is set; nothing is written.
pub const REASON_PAUSED: &str = "Paused";
/// The API server did not answer in time; it is tried again. In Events and metrics only.
pub const REASON_TIMED_OUT: &str = "TimedOut";
/// The API server did not give what a reconcile must know; it is tried again. In Events and metrics only.
pub const REASON_OBSERVE_FAILED: &str = "ObserveFailed";
/// The system gave no randomness for a secret; it is tried again. In Events and metrics only.
pub const REASON_SECRET_NOT_MADE: &str = "SecretNotMade";
/// The status could not be written; it is tried again. In Events and metrics only.
pub const REASON_REPORT_FAILED: &str = "ReportFailed";
