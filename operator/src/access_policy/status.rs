//! What is said of an access policy in its `status`. Pure.

use super::targets::Tally;
use crate::conventions::{Verdict, condition, reconciling, stalled, verdict};
use codecrucible_contract::Invalid;
use codecrucible_crds::{AccessPolicy, AccessPolicyStatus, conditions as names};
use jiff::Timestamp;

/// The status of a policy that is valid or not, and of which so many services were seen to run it. The same
/// state gives the same status.
pub(super) fn status(
    policy: &AccessPolicy,
    invalid: Option<&Invalid>,
    tally: Tally,
    now: Timestamp,
) -> AccessPolicyStatus {
    let before = policy.status.clone().unwrap_or_default();
    let generation = policy.metadata.generation;
    let accepted = match invalid {
        None => verdict(true, names::REASON_VALID, "it compiles and type-checks"),
        Some(invalid) => verdict(false, names::REASON_INVALID, invalid.to_string()),
    };
    let ready = if accepted.is_true { ready(&tally) } else { accepted.clone() };
    let conditions = [
        (names::ACCEPTED, accepted.clone()),
        (names::READY, ready.clone()),
        (names::RECONCILING, reconciling(&accepted, &ready)),
        (names::STALLED, stalled(&accepted)),
    ];
    let conditions = conditions
        .map(|(type_, verdict)| condition(type_, verdict, generation, &before.conditions, now))
        .to_vec();
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    match tally {
        // Nothing new is known of who runs it.
        Tally { unseen: Some(_), .. } => {
            AccessPolicyStatus { observed_generation: generation, conditions, ..before }
        }
        Tally { services, applied, pending, .. } => AccessPolicyStatus {
            observed_generation: generation,
            conditions,
            services: count(services),
            applied_services: count(applied),
            pending_services: pending,
        },
    }
}

fn ready(tally: &Tally) -> Verdict {
    let Tally { services, applied, pending, comparing, unseen } = tally;
    if let Some(unseen) = unseen {
        let message = format!("what the CodeCrucible {unseen:?} selects was not looked at yet");
        return verdict(false, names::REASON_PENDING, message);
    }
    if *services == 0 {
        return verdict(true, names::REASON_NOT_SELECTED, "no CodeCrucible of this namespace selects it");
    }
    let count = format!("{applied} of {services} services run it in all of their ready replicas");
    if let Some(comparing) = comparing {
        let told = format!("{count}; {comparing} only compares what is new, as its spec.policy.mode says");
        return verdict(false, names::REASON_ONLY_COMPARED, told);
    }
    match pending.first() {
        None => verdict(true, names::REASON_APPLIED, count),
        Some(first) => verdict(false, names::REASON_PENDING, format!("{count}; not yet: {first}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(invalid: Option<&Invalid>, tally: Tally) -> AccessPolicyStatus {
        let mut policy = AccessPolicy::new("p", serde_json::from_value(json!({})).unwrap());
        policy.metadata.generation = Some(2);
        status(&policy, invalid, tally, Timestamp::UNIX_EPOCH)
    }

    /// The conditions that are true, and the reason of `Ready`.
    fn state(status: &AccessPolicyStatus) -> (Vec<&str>, &str) {
        let holds = status.conditions.iter().filter(|condition| condition.status == "True");
        let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
        (holds.map(|condition| &*condition.type_).collect(), &ready.reason)
    }

    #[test]
    fn a_policy_is_ready_when_every_service_that_selects_it_runs_it() {
        let some = Tally { services: 2, applied: 1, pending: vec!["b".into()], ..Tally::default() };
        let waits = told(None, some);
        assert_eq!(state(&waits), (vec!["Accepted", "Reconciling"], "Pending"));
        assert_eq!(
            (waits.services, waits.applied_services, &*waits.pending_services),
            (2, 1, &["b".to_owned()][..])
        );
        let all = told(None, Tally { services: 2, applied: 2, ..Tally::default() });
        assert_eq!(state(&all), (vec!["Accepted", "Ready"], "Applied"));
        let compares =
            Tally { services: 1, pending: vec!["b".into()], comparing: Some("b".into()), ..Tally::default() };
        assert_eq!(state(&told(None, compares)), (vec!["Accepted"], "OnlyCompared"));
        assert_eq!(state(&told(None, Tally::default())), (vec!["Accepted", "Ready"], "NotSelected"));
        assert_eq!(
            state(&told(None, Tally { unseen: Some("c".into()), ..Tally::default() })),
            (vec!["Accepted", "Reconciling"], "Pending")
        );
    }

    #[test]
    fn one_that_is_wrong_is_stalled_with_the_path() {
        let invalid = Invalid { path: "spec.statements[0]".into(), problem: "no".into() };
        let wrong =
            told(Some(&invalid), Tally { services: 1, pending: vec!["a".into()], ..Tally::default() });
        assert_eq!(state(&wrong), (vec!["Stalled"], "Invalid"));
        assert!(wrong.conditions.iter().any(|condition| condition.message == "spec.statements[0]: no"));
    }
}
