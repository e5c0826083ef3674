//! How many requests a backend is sent at once by each replica, and how many more wait for that.

use crate::validate::{Checked, check};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// Least and most requests that a backend has at once.
const REQUESTS: RangeInclusive<u32> = 1..=100_000;
/// Most requests that wait.
const MAX_QUEUED: u32 = 10_000;
/// Shortest and longest time that they wait, milliseconds (10 ms, 10 minutes).
const QUEUED_MS: RangeInclusive<u64> = 10..=600_000;

/// How many requests a backend is sent at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Concurrency {
    /// At most so many.
    pub max_requests: u32,
    /// Whether it is fewer when the backend begins to answer later than it does without load.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adaptive: bool,
    /// Who waits for one of them to end.
    pub queue: Queue,
}

/// Requests that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Queue {
    /// At most so many; none at all is allowed.
    pub max_requests: u32,
    /// For so long at most, milliseconds.
    pub timeout_ms: u64,
}

impl Concurrency {
    pub(crate) fn validate(&self, path: &str) -> Checked {
        let Self { max_requests, queue, .. } = self;
        check(REQUESTS.contains(max_requests), &format!("{path}.maxRequests"), || {
            format!("{max_requests} is outside {} to {} requests", REQUESTS.start(), REQUESTS.end())
        })?;
        check(queue.max_requests <= MAX_QUEUED, &format!("{path}.queue.maxRequests"), || {
            format!("{} is more than {MAX_QUEUED} requests", queue.max_requests)
        })?;
        check(QUEUED_MS.contains(&queue.timeout_ms), &format!("{path}.queue.timeoutMs"), || {
            let (least, most) = (QUEUED_MS.start(), QUEUED_MS.end());
            format!("{} is outside {least} to {most} milliseconds", queue.timeout_ms)
        })
    }
}
