//! When pods are proven: they have served for a while, so that one which ends under its first load is not gone back to.

use super::failure::ready_since;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use std::time::Duration;

/// How long a pod must have been ready.
pub(crate) const TRIAL: Duration = Duration::from_secs(20);

/// Whether there are pods, and all of them are proven.
pub(crate) fn are_proven(pods: &[Pod], now: Timestamp) -> bool {
    let stays = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none();
    let is_proven = |pod: &Pod| ready_since(pod).is_some_and(|since| has_lasted(since, TRIAL, now));
    pods.iter().any(|pod| stays(&pod)) && pods.iter().filter(stays).all(is_proven)
}

/// Whether something has been so since then for long enough. A time in the future is that of another clock.
pub(super) fn has_lasted(since: Timestamp, long: Duration, now: Timestamp) -> bool {
    now > since && now.duration_since(since).unsigned_abs() >= long
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ready_at(second: i64) -> Pod {
        let since = Timestamp::from_second(second).unwrap().to_string();
        let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]);
        serde_json::from_value(json!({"metadata": {"name": "p"}, "status": {"conditions": ready}})).unwrap()
    }

    #[test]
    fn all_pods_must_have_served_for_a_while() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(!are_proven(&[], at(100)));
        assert!(!are_proven(&[ready_at(0)], at(19)));
        assert!(are_proven(&[ready_at(0)], at(20)));
        assert!(!are_proven(&[ready_at(0), ready_at(10)], at(20)));
        assert!(!are_proven(&[Pod::default()], at(100)));
    }
}
