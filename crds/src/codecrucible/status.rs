//! What the operator saw.

use crate::access_policy::AccessEnforcement;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde::{Deserialize, Serialize};

/// What the operator saw.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct CodeCrucibleStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`: the resource is valid. `Available`: enough replicas serve. `Progressing`: a change is on its way.
    /// `PolicySynced`: every ready replica said that it runs the policy. `CertificateValid`: every ready replica shows clients the
    /// newest certificate. `Exposed`, where `network.ingress` or `.route` is given: they were taken on, and no part of `Ready`.
    /// `StoreConnected`, where `redis` is given: every ready replica counts together with the others there; no part of `Ready` either.
    /// `Ready`: accepted and available. `Reconciling` and `Stalled`: what pipelines wait for, and what they fail at.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Replicas that exist.
    pub replicas: i32,
    /// Replicas that are ready.
    pub ready_replicas: i32,
    /// The labels of its pods, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Where clients inside the cluster reach the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The image of the deployment's pod template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The policy: what running pods read without a restart, such as models, backends, voices, lifetimes of tokens and the
    /// log level. Which one was handed out, and who runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyStatus>,
    /// The clients of applications that were handed out, and how many replicas know them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<ClientsStatus>,
    /// The certificate that clients are shown; nothing where nothing is encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateStatus>,
    /// How far the newest pods have come in place of old ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
}

/// Which pods run, and to which the operator would go back. A revision names what a pod is made from; it is kept in
/// the ControllerRevision `NAME-template-REVISION`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// How far it has come.
    pub phase: RolloutPhase,
    /// What the deployment asks for.
    pub revision: String,
    /// What all replicas last ran well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good: Option<String>,
    /// The policy that they ran, kept in the ControllerRevision `NAME-policy-REVISION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good_policy: Option<String>,
    /// The new pods that are tried out, while there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryStatus>,
}

/// New pods that are tried out beside those that run well.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStatus {
    /// What they are made from.
    pub revision: String,
    /// The step of `spec.rollout.canary.steps`, counted from 1.
    pub step: i32,
    /// How many steps there are.
    pub steps: i32,
    /// Since when they are at that step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_since: Option<Time>,
    /// How many of them there are to be.
    pub replicas: i32,
    /// How many are ready.
    pub ready_replicas: i32,
    /// Completions and syntheses that they said they answered, as their first digit and zeros.
    pub requests: i64,
    /// Those that they answered with a status of 500 or above, or with a stream that broke, likewise.
    pub failed_requests: i64,
}

/// How far a rollout has come.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
pub enum RolloutPhase {
    /// New pods come in place of old ones.
    Progressing,
    /// All replicas are as asked for, and run the policy.
    Complete,
    /// It failed; the last good pods run.
    RolledBack,
    /// It failed, and there is nothing to go back to, or that is not wanted.
    Failed,
}

/// The policy that was handed out, and who said that it runs it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// Its revision, a counter and a hash; it is kept in the ControllerRevision `NAME-policy-REVISION`.
    pub revision: String,
    /// SHA-256 of the policy's canonical form.
    pub hash: String,
    /// When it was handed out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<Time>,
    /// Whether the annotation `codecrucible.dev/rollback-policy` holds the service at this revision.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// Ready replicas that said that they run this revision.
    #[serde(default)]
    pub applied_replicas: i32,
    /// The `AccessPolicy`s that are a part of it. Where none of them enforces, whoever has a token may do everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access: Vec<AccessInForce>,
    /// What each ready replica said that it runs, by its pod; at most a hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<ReplicaPolicy>,
    /// Replicas that refuse their newest configuration and go on with the one before; at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<Rejection>,
    /// The policy that is only compared with this one, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowStatus>,
}

/// A policy that is only compared with the one in force.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowStatus {
    /// The revision that it will have when it is put in force.
    pub revision: String,
    /// When it was handed out to be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<Time>,
    /// SHA-256 of its canonical form.
    pub hash: String,
    /// Ready replicas that said that they compare with it.
    #[serde(default)]
    pub applied_replicas: i32,
    /// Those of them that have compared a request.
    #[serde(default)]
    pub compared_replicas: i32,
    /// Those of them that have seen a request that it would treat otherwise. How many requests, and wherein, their metrics tell.
    #[serde(default)]
    pub differing_replicas: i32,
    /// Replicas that refuse it; at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<Rejection>,
}

/// An `AccessPolicy` as a part of a policy.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessInForce {
    /// Its name.
    pub name: String,
    /// Whether it decides, or is only compared with what does.
    #[serde(default)]
    pub enforcement: AccessEnforcement,
    /// SHA-256 of what it comes to.
    pub hash: String,
}

/// The certificate that replicas were given to show to clients.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// When it was handed out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<Time>,
    /// When it ends.
    pub not_after: Time,
    /// Its SHA-256.
    pub fingerprint: String,
    /// The certificate of the authority that vouches for it, PEM; nothing where clients need none, or that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// Ready replicas that said that they show it.
    #[serde(default)]
    pub applied_replicas: i32,
    /// Ready replicas that did not say so yet.
    #[serde(default)]
    pub pending_replicas: i32,
}

/// The clients of applications that were handed out.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientsStatus {
    /// When this list was handed out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<Time>,
    /// How many there are.
    pub registered: i32,
    /// SHA-256 of their list.
    pub hash: String,
    /// Ready replicas that said that they know just these.
    #[serde(default)]
    pub applied_replicas: i32,
    /// Ready replicas that did not say so yet.
    #[serde(default)]
    pub pending_replicas: i32,
}

/// What a replica runs, as it said.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaPolicy {
    /// The replica's pod.
    pub pod: String,
    /// The revision of the policy.
    pub revision: String,
}

/// What a replica refuses.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// The replica's pod.
    pub pod: String,
    /// What is wrong, in the replica's words.
    pub reason: String,
}
