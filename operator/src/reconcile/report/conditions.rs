//! Decides each condition from what was seen: small functions that give a status, a reason and a message.

use super::policy::Spread;
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

pub(super) fn verdict(is_true: bool, reason: &'static str, message: impl Into<String>) -> Verdict {
    Verdict { is_true, reason, message: message.into() }
}

/// All conditions, in the order in which `status` lists them.
pub(super) fn verdicts(
    outcome: &Outcome,
    rollout: &Rollout,
    spread: Option<&Spread>,
    trouble: Option<&str>,
) -> Vec<(&'static str, Verdict)> {
    let accepted = accepted(outcome);
    let available = available(rollout, trouble);
    let progressing = progressing(outcome, rollout, spread, trouble);
    let stalled = stalled(outcome, rollout, spread, trouble);
    let synced = spread.map_or_else(nothing_published, Spread::verdict);
    let ready = ready(outcome, &accepted, &available);
    let reconciling = reconciling(outcome, &progressing, &stalled);
    vec![
        (names::ACCEPTED, accepted),
        (names::AVAILABLE, available),
        (names::PROGRESSING, progressing),
        (names::POLICY_SYNCED, synced),
        (names::READY, ready),
        (names::RECONCILING, reconciling),
        (names::STALLED, stalled),
    ]
}

fn nothing_published() -> Verdict {
    verdict(false, names::REASON_NOT_PUBLISHED, "no policy was published yet")
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

fn progressing(
    outcome: &Outcome,
    rollout: &Rollout,
    spread: Option<&Spread>,
    trouble: Option<&str>,
) -> Verdict {
    match outcome {
        Outcome::Paused { .. } => {
            verdict(false, names::REASON_PAUSED, "spec.maintenance.paused is set: nothing is written")
        }
        Outcome::Invalid(invalid) => verdict(false, invalid.reason, "waiting for a valid resource"),
        Outcome::Failed(error) => verdict(true, names::REASON_APPLY_FAILED, error.to_string()),
        Outcome::Applied(_) if rollout.deadline_exceeded => {
            verdict(false, names::REASON_PROGRESS_DEADLINE_EXCEEDED, deadline_message(trouble))
        }
        Outcome::Applied(_) if rollout.is_complete() => match spread {
            Some(spread) if spread.is_under_way() => Verdict { is_true: true, ..spread.verdict() },
            Some(spread) if spread.is_rejected() => spread.verdict(),
            _ => verdict(false, names::REASON_STABLE, "every replica is up to date"),
        },
        Outcome::Applied(_) => {
            let Rollout { updated, desired, .. } = rollout;
            let count = format!("{updated} of {desired} replicas are up to date");
            verdict(true, names::REASON_ROLLING_OUT, with_trouble(count, trouble))
        }
    }
}

fn stalled(outcome: &Outcome, rollout: &Rollout, spread: Option<&Spread>, trouble: Option<&str>) -> Verdict {
    match outcome {
        Outcome::Invalid(invalid) => verdict(true, invalid.reason, invalid.message.clone()),
        Outcome::Applied(_) if rollout.deadline_exceeded => {
            verdict(true, names::REASON_PROGRESS_DEADLINE_EXCEEDED, deadline_message(trouble))
        }
        Outcome::Applied(_) | Outcome::Failed(_) | Outcome::Paused { .. } => match spread {
            // What a replica refuses, another try will not mend.
            Some(spread) if spread.is_rejected() => Verdict { is_true: true, ..spread.verdict() },
            _ => verdict(false, names::REASON_STABLE, "nothing stands in the way"),
        },
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
    use codecrucible_contract::{Acknowledgement, Refused};
    use std::collections::BTreeMap;

    fn applied() -> Outcome {
        let publication = Publication {
            revision: "1-x".into(),
            hash: "x".into(),
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
        truths_with(outcome, rollout, None)
    }

    fn truths_with(outcome: &Outcome, rollout: &Rollout, spread: Option<&Spread>) -> Vec<&'static str> {
        verdicts(outcome, rollout, spread, None)
            .into_iter()
            .filter(|(_, verdict)| verdict.is_true)
            .map(|(name, _)| name)
            .collect()
    }

    #[test]
    fn a_service_that_runs_is_ready_and_at_rest() {
        assert_eq!(truths(&applied(), &rollout(3, 3)), ["Accepted", "Available", "Ready"]);
    }

    /// What one replica says, of revision `1-x`.
    fn said(revision: &str, refused: Option<&str>) -> Spread {
        let refused = refused.map(|reason| Refused::new(reason, 1));
        let told = Acknowledgement { revision: revision.into(), hash: "x".into(), applied_at: 1, refused };
        Spread::of("1-x", "x", &BTreeMap::from([("p".to_owned(), Ok(told))]))
    }

    #[test]
    fn a_service_is_at_rest_only_when_its_replicas_run_the_policy() {
        let truths = |spread: &Spread| truths_with(&applied(), &rollout(1, 1), Some(spread));
        let (ready, under_way) = (["Accepted", "Available"], ["Progressing", "Ready", "Reconciling"]);
        assert_eq!(truths(&said("0-x", None)), [&ready[..], &under_way].concat());
        assert_eq!(truths(&said("1-x", None)), [&ready[..], &["PolicySynced", "Ready"]].concat());
        // It serves on with what it had.
        assert_eq!(truths(&said("0-x", Some("no"))), [&ready[..], &["Ready", "Stalled"]].concat());
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
        assert!(progressing(&applied(), &rolling, None, trouble).message.ends_with("ErrImagePull"));
        let stuck = Rollout { deadline_exceeded: true, ..rolling };
        assert!(stalled(&applied(), &stuck, None, trouble).message.ends_with("ErrImagePull"));
    }

    #[test]
    fn a_pods_trouble_is_in_the_message() {
        assert!(available(&rollout(1, 0), Some("pod p: ErrImagePull")).message.contains("ErrImagePull"));
    }
}
