//! How new pods are tried out, and whether what they served is good enough. Pure.

use crate::service::rollout::failure::Failure;
use codecrucible_contract::Served;
use std::time::Duration;

/// The part of all answers that must begin in time, percent.
const IN_TIME_PERCENT: u64 = 95;

/// How new pods are tried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CanaryRules {
    /// At least one.
    pub(crate) steps: Vec<Step>,
    pub(crate) minimum_requests: u64,
    pub(crate) max_error_percent: u64,
    pub(crate) max_latency_milliseconds: Option<u64>,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// 1 to 50.
    pub(crate) weight_percent: i32,
    /// Shortest time.
    pub(crate) hold: Duration,
}

impl Step {
    /// New pods beside so many that stay.
    pub(super) fn replicas(self, staying: i32) -> i32 {
        let parts = i64::from(staying.max(0)) * i64::from(self.weight_percent);
        let others = i64::from(100 - self.weight_percent).max(1);
        i32::try_from((parts + others - 1) / others).unwrap_or(i32::MAX).max(1)
    }
}

impl CanaryRules {
    /// Why what the new pods served is not good enough, if they served enough to say so.
    pub(super) fn unfit(&self, served: &Served) -> Option<Failure> {
        if served.requests == 0 || served.requests < self.minimum_requests {
            return None;
        }
        let percent = |part: u64| u128::from(part) * 100;
        let of = |percent: u64| u128::from(served.requests) * u128::from(percent);
        if percent(served.failed) > of(self.max_error_percent) {
            let (failed, requests, limit) = (served.failed, served.requests, self.max_error_percent);
            return Some(Failure(format!("{failed} of {requests} requests failed, more than {limit} %")));
        }
        let limit = self.max_latency_milliseconds?;
        let in_time = served.begun_within(limit.into());
        (percent(in_time) < of(IN_TIME_PERCENT)).then(|| {
            let requests = served.requests;
            Failure(format!(
                "only {in_time} of {requests} answers began within {limit} ms, fewer than {IN_TIME_PERCENT} %"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_new_pods_are_the_part_of_all_that_is_asked_for() {
        let replicas =
            |weight_percent, staying| Step { weight_percent, hold: Duration::ZERO }.replicas(staying);
        assert_eq!([replicas(10, 9), replicas(10, 10), replicas(50, 3), replicas(1, 1)], [1, 2, 3, 1]);
        assert_eq!(replicas(50, i32::MAX), i32::MAX);
    }
}
