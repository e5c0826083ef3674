//! Decides each condition from what was seen: small functions that give a status, a reason and a message.

use super::rollout::Rollout;
use crate::reconcile::outcome::Outcome;
use codecrucible_crds::conditions as names;

/// One condition's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) is_true: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

fn verdict(is_true: bool, reason: &'static str, message: impl Into<String>) -> Verdict {
    Verdict { is_true, reason, message: message.into() }
}

/// All conditions, in the order in which `status` lists them.
pub(super) fn verdicts(
    outcome: &Outcome,
    rollout: &Rollout,
    trouble: Option<&str>,
) -> Vec<(&'static str, Verdict)> {
    let accepted = accepted(outcome);
    let available = available(rollout, trouble);
    let progressing = progressing(outcome, rollout, trouble);
    let stalled = stalled(outcome, rollout, trouble);
    let ready = ready(outcome, &accepted, &available);
    let reconciling = reconciling(outcome, &progressing, &stalled);
    vec![
        (names::ACCEPTED, accepted),
        (names::AVAILABLE, available),
        (names::PROGRESSING, progressing),
        (names::READY, ready),
        (names::RECONCILING, reconciling),
        (names::STALLED, stalled),
    ]
}

fn accepted(outcome: &Outcome) -> Verdict {
    match outcome {
        Outcome::Invalid(invalid) => verdict(false, invalid.reason, invalid.message.clone()),
        Outcome::Paused { .. } | Outcome::Applied(_) | Outcome::Failed(_) => {
            verdict(true, names::REASON_VALID, "the resource is valid")
        }
    }
}

fn available(rollout: &Rollout, trouble: Option<&str>) -> Verdict {
    let Rollout { desired, available, is_observed, .. } = rollout;
    let count = format!("{available} of {desired} replicas are available");
    if *is_observed && *desired == 0 {
        return verdict(false, names::REASON_SCALED_TO_ZERO, "no replica is asked for");
    }
    // One replica may be away, as in a node's drain, unless it is the only one.
    if *is_observed && *available >= (*desired - 1).max(1) {
        return verdict(true, names::REASON_MINIMUM_REPLICAS_AVAILABLE, count);
    }
    verdict(false, names::REASON_REPLICAS_UNAVAILABLE, with_trouble(count, trouble))
}

fn with_trouble(message: String, trouble: Option<&str>) -> String {
    trouble.map_or(message.clone(), |trouble| format!("{message}; {trouble}"))
}

fn deadline_message(trouble: Option<&str>) -> String {
    with_trouble("the deployment made no progress in time".into(), trouble)
}

fn progressing(outcome: &Outcome, rollout: &Rollout, trouble: Option<&str>) -> Verdict {
    match outcome {
        Outcome::Paused { .. } => {
            verdict(false, names::REASON_PAUSED, "spec.maintenance.paused is set: nothing is written")
        }
        Outcome::Invalid(invalid) => verdict(false, invalid.reason, "waiting for a valid resource"),
        Outcome::Failed(error) => verdict(true, names::REASON_APPLY_FAILED, error.to_string()),
        Outcome::Applied(_) if rollout.deadline_exceeded => {
            verdict(false, names::REASON_PROGRESS_DEADLINE_EXCEEDED, deadline_message(trouble))
        }
        Outcome::Applied(_) if rollout.is_complete() => {
            verdict(false, names::REASON_STABLE, "every replica is up to date")
        }
        Outcome::Applied(_) => {
            let Rollout { updated, desired, .. } = rollout;
            let count = format!("{updated} of {desired} replicas are up to date");
            verdict(true, names::REASON_ROLLING_OUT, with_trouble(count, trouble))
        }
    }
}

fn stalled(outcome: &Outcome, rollout: &Rollout, trouble: Option<&str>) -> Verdict {
    match outcome {
        Outcome::Invalid(invalid) => verdict(true, invalid.reason, invalid.message.clone()),
        Outcome::Applied(_) if rollout.deadline_exceeded => {
            verdict(true, names::REASON_PROGRESS_DEADLINE_EXCEEDED, deadline_message(trouble))
        }
        Outcome::Applied(_) | Outcome::Failed(_) | Outcome::Paused { .. } => {
            verdict(false, names::REASON_STABLE, "nothing stands in the way")
        }
    }
}

fn ready(outcome: &Outcome, accepted: &Verdict, available: &Verdict) -> Verdict {
    match outcome {
        Outcome::Invalid(_) => accepted.clone(),
        Outcome::Failed(error) => verdict(false, names::REASON_APPLY_FAILED, error.to_string()),
        // A paused resource is as ready as its replicas are.
        Outcome::Applied(_) | Outcome::Paused { .. } => available.clone(),
    }
}

fn reconciling(outcome: &Outcome, progressing: &Verdict, stalled: &Verdict) -> Verdict {
    if matches!(outcome, Outcome::Failed(_)) || (progressing.is_true && !stalled.is_true) {
        return Verdict { is_true: true, ..progressing.clone() };
    }
    verdict(false, names::REASON_STABLE, "nothing is left to do")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::apply::Applied;
    use crate::reconcile::desired::Publication;
    use crate::reconcile::validate::Invalid;
    use codecrucible_crds::PolicyStatus;

    fn applied() -> Outcome {
        let publication = Publication {
            policy: PolicyStatus { published: "1-x".into(), hash: "x".into() },
            endpoint: "http://x".into(),
            configuration: "x".into(),
        };
        Outcome::Applied(Box::new(Applied { publication, deployment: None }))
    }

    fn rollout(desired: i32, available: i32) -> Rollout {
        Rollout {
            desired,
            available,
            updated: available,
            replicas: desired,
            ready: available,
            is_observed: true,
            ..Rollout::default()
        }
    }

    /// The conditions that are true.
    fn truths(outcome: &Outcome, rollout: &Rollout) -> Vec<&'static str> {
        verdicts(outcome, rollout, None)
            .into_iter()
            .filter(|(_, verdict)| verdict.is_true)
            .map(|(name, _)| name)
            .collect()
    }

    #[test]
    fn a_service_that_runs_is_ready_and_at_rest() {
        assert_eq!(truths(&applied(), &rollout(3, 3)), ["Accepted", "Available", "Ready"]);
    }

    #[test]
    fn a_service_that_starts_is_reconciling() {
        assert_eq!(truths(&applied(), &rollout(3, 0)), ["Accepted", "Progressing", "Reconciling"]);
        assert_eq!(truths(&applied(), &Rollout::default()), ["Accepted", "Progressing", "Reconciling"]);
    }

    #[test]
    fn an_invalid_resource_is_stalled_and_not_ready_even_while_replicas_serve() {
        let outcome = Outcome::Invalid(Invalid { reason: "Invalid", message: "spec.x: wrong".into() });
        assert_eq!(truths(&outcome, &rollout(3, 3)), ["Available", "Stalled"]);
    }

    #[test]
    fn one_of_several_replicas_may_be_away_but_not_the_only_one() {
        assert!(available(&rollout(3, 2), None).is_true);
        assert!(!available(&rollout(3, 1), None).is_true);
        assert!(!available(&rollout(1, 0), None).is_true);
        assert_eq!(available(&rollout(0, 0), None).reason, "ScaledToZero");
    }

    #[test]
    fn a_rollout_that_gave_up_is_stalled() {
        let stuck = Rollout { deadline_exceeded: true, ..rollout(3, 0) };
        assert_eq!(truths(&applied(), &stuck), ["Accepted", "Stalled"]);
    }

    #[test]
    fn a_bad_image_is_named_even_while_the_old_replicas_serve() {
        let trouble = Some("pod p: ErrImagePull");
        let rolling = Rollout { replicas: 4, updated: 1, ..rollout(3, 3) };
        assert!(available(&rolling, trouble).is_true);
        assert!(progressing(&applied(), &rolling, trouble).message.ends_with("ErrImagePull"));
        let stuck = Rollout { deadline_exceeded: true, ..rolling };
        assert!(stalled(&applied(), &stuck, trouble).message.ends_with("ErrImagePull"));
    }

    #[test]
    fn a_pods_trouble_is_in_the_message() {
        assert!(available(&rollout(1, 0), Some("pod p: ErrImagePull")).message.contains("ErrImagePull"));
    }
}
