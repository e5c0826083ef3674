//! How new pods come in place of old ones.

use crate::duration::Duration;
use serde::{Deserialize, Serialize};

/// How new pods come in place of old ones: one more at a time, and none fewer.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Rollout {
    /// A rollout without progress for so long has failed; so has one whose ready replicas have not applied the
    /// policy by then. `10s` to `1d`.
    pub progress_deadline: Duration,
    /// Whether a rollout that failed is taken back to the last pods that ran well, until this resource asks for
    /// other ones.
    pub automatic_rollback: bool,
    /// New pods are tried out on a part of the requests first, beside all of those that run well. Nothing is tried out where none ran
    /// well yet, and when it changes whether connections are encrypted or by which certificate, or which models are mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

impl Default for Rollout {
    fn default() -> Self {
        Self { progress_deadline: Duration::literal("10m"), automatic_rollback: true, canary: None }
    }
}

/// How new pods are tried out, in a Deployment `NAME-canary`. If they fail, they go, and stay away until this resource asks for other
/// ones, whatever `automaticRollback` says; after the last step all pods are replaced by new ones.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// The steps, one after the other.
    #[schemars(length(min = 1, max = 10))]
    pub steps: Vec<CanaryStep>,
    /// Requests that the new pods must have answered, in all steps together, before one is over; from then on they are judged. With 0,
    /// time alone ends a step, and the first failure may end it all. Completions and syntheses with a valid token count, those too that
    /// fail because a backend does.
    #[serde(default = "minimum_requests")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub minimum_requests: i32,
    /// Largest part of these requests that may be answered with a status of 500 or above, or with a stream that breaks, percent.
    #[serde(default = "max_error_percent")]
    #[schemars(range(min = 0, max = 100))]
    pub max_error_percent: i32,
    /// The time within which 95 % of the answers must begin, for those that are not streamed their whole time, `10ms` to `1m`; any, if it is not given. It is measured in steps (10, 20,
    /// 50, 100, 200, 300, 500, 750 ms, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60 s), and what lies between is taken for the one below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_latency: Option<Duration>,
}

/// One step.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStep {
    /// The part of all pods that are new, percent, rounded up to whole pods: those that run well stay, so that 25 is one beside three,
    /// and 50 doubles them.
    #[schemars(range(min = 1, max = 50))]
    pub weight_percent: i32,
    /// How long it takes at least, `1s` to `1d`.
    #[serde(default = "hold")]
    pub hold: Duration,
}

fn minimum_requests() -> i32 {
    20
}

fn max_error_percent() -> i32 {
    5
}

fn hold() -> Duration {
    Duration::literal("1m")
}
