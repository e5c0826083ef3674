//! Decides each condition from what was seen: small functions that give a status, a reason and a message.

use super::policy::Spread;
use crate::conventions::{Verdict, verdict};
use crate::service::outcome::Outcome;
use crate::service::rollout::{Canary, Progress, RolledBack, rounded};
use codecrucible_crds::conditions as names;

/// What the conditions are decided from.
pub(super) struct Seen<'a> {
    pub(super) outcome: &'a Outcome,
    pub(super) progress: &'a Progress,
    /// How far the policy has spread, if one was published.
    pub(super) spread: Option<&'a Spread>,
    /// What is said of the certificate that clients are shown.
    pub(super) certificate_valid: Verdict,
    /// Whether it is reached from outside the cluster, if that is asked for.
    pub(super) exposed: Option<Verdict>,
    /// Whether replicas count together, if there is a store for that.
    pub(super) store_connected: Option<Verdict>,
    /// What keeps replicas from serving.
    pub(super) trouble: Option<&'a str>,
}

impl Seen<'_> {
    /// All conditions, in the order in which `status` lists them.
    pub(super) fn verdicts(&self) -> Vec<(&'static str, Verdict)> {
        let (accepted, available) = (self.accepted(), self.available());
        let (progressing, stalled) = (self.progressing(), self.stalled());
        let ready = self.ready(&accepted, &available);
        let reconciling = self.reconciling(&progressing, &stalled);
        let mut verdicts = vec![
            (names::ACCEPTED, accepted),
            (names::AVAILABLE, available),
            (names::PROGRESSING, progressing),
            (names::POLICY_SYNCED, self.policy_synced()),
            (names::CERTIFICATE_VALID, self.certificate_valid.clone()),
            (names::READY, ready),
            (names::RECONCILING, reconciling),
            (names::STALLED, stalled),
        ];
        verdicts.extend(self.exposed.clone().map(|exposed| (names::EXPOSED, exposed)));
        verdicts.extend(self.store_connected.clone().map(|connected| (names::STORE_CONNECTED, connected)));
        verdicts
    }

    fn policy_synced(&self) -> Verdict {
        let not_published = || verdict(false, names::REASON_NOT_PUBLISHED, "no policy was published yet");
        self.spread.map_or_else(not_published, Spread::verdict)
    }

    fn accepted(&self) -> Verdict {
        match self.outcome {
            Outcome::Invalid(invalid) => verdict(false, invalid.reason, invalid.message.clone()),
            Outcome::Applied(applied) if !applied.publication.notes.is_empty() => verdict(
                true,
                names::REASON_VALID,
                format!("valid, but {}", applied.publication.notes.join("; ")),
            ),
            Outcome::Paused | Outcome::Applied(_) | Outcome::Failed(_) => {
                verdict(true, names::REASON_VALID, "the resource is valid")
            }
        }
    }

    fn available(&self) -> Verdict {
        let Progress { desired, available, is_observed, .. } = self.progress;
        let count = format!("{available} of {desired} replicas are available");
        if *is_observed && *desired == 0 {
            return verdict(
                false,
                names::REASON_SCALED_TO_ZERO,
                "no replica is asked for (spec.replicas, spec.maintenance.hibernate)",
            );
        }
        // One replica may be away, as in a node's drain, unless it is the only one.
        if *is_observed && *available >= (*desired - 1).max(1) {
            return verdict(true, names::REASON_MINIMUM_REPLICAS_AVAILABLE, count);
        }
        verdict(false, names::REASON_REPLICAS_UNAVAILABLE, self.with_trouble(count))
    }

    fn with_trouble(&self, message: String) -> String {
        self.trouble.map_or(message.clone(), |trouble| format!("{message}; {trouble}"))
    }

    fn progressing(&self) -> Verdict {
        match self.outcome {
            Outcome::Paused => {
                verdict(false, names::REASON_PAUSED, "spec.maintenance.paused is set: nothing is written")
            }
            Outcome::Invalid(invalid) => verdict(false, invalid.reason, "waiting for a valid resource"),
            Outcome::Failed(error) => {
                verdict(!error.is_refusal(), names::REASON_APPLY_FAILED, error.to_string())
            }
            Outcome::Applied(_) => self.rolling(),
        }
    }

    fn rolled_back(&self) -> Option<&RolledBack> {
        let Outcome::Applied(applied) = self.outcome else { return None };
        applied.publication.rolled_back.as_ref()
    }

    fn canary(&self) -> Option<&Canary> {
        let Outcome::Applied(applied) = self.outcome else { return None };
        applied.publication.canary.as_ref()
    }

    /// What new pods wait for; those of before serve until then.
    fn awaited(&self) -> Option<&str> {
        let Outcome::Applied(applied) = self.outcome else { return None };
        applied.publication.awaited.as_deref()
    }

    fn rolling(&self) -> Verdict {
        if let Some(stuck) = self.stuck() {
            return Verdict { is_true: false, ..stuck };
        }
        if let Some(canary) = self.canary() {
            return verdict(true, names::REASON_CANARY, self.with_trouble(tried_out(canary)));
        }
        if let Some(because) = self.awaited() {
            return verdict(true, names::REASON_AWAITING_CERTIFICATE, because);
        }
        if !self.progress.is_complete() {
            let Progress { updated, desired, .. } = self.progress;
            let count = format!("{updated} of {desired} replicas are up to date");
            return verdict(true, names::REASON_ROLLING_OUT, self.with_trouble(count));
        }
        match self.spread {
            Some(spread) if spread.is_under_way() => Verdict { is_true: true, ..spread.verdict() },
            _ => verdict(false, names::REASON_STABLE, "every replica is up to date"),
        }
    }

    /// Why a service that is as it should be written does not come to be so, if it does not.
    fn stuck(&self) -> Option<Verdict> {
        if let Some(RolledBack { from, because }) = self.rolled_back() {
            let message = format!("the pods of {from} failed, those that ran before are back; {because}");
            return Some(verdict(true, names::REASON_ROLLED_BACK, message));
        }
        if self.progress.deadline_exceeded {
            let message = self.with_trouble("the deployment made no progress in time".into());
            return Some(verdict(true, names::REASON_PROGRESS_DEADLINE_EXCEEDED, message));
        }
        // Replicas on their way out may refuse what only the new ones can load; those that are tried out are judged otherwise.
        self.refused().filter(|_| self.progress.is_complete() && self.canary().is_none())
    }

    /// What a replica refuses, another try will not mend.
    fn refused(&self) -> Option<Verdict> {
        let spread = self.spread.filter(|spread| spread.is_rejected())?;
        Some(Verdict { is_true: true, ..spread.verdict() })
    }

    fn stalled(&self) -> Verdict {
        let stalled = match self.outcome {
            Outcome::Invalid(invalid) => Some(verdict(true, invalid.reason, invalid.message.clone())),
            Outcome::Applied(_) => self.stuck(),
            Outcome::Failed(error) if error.is_refusal() => {
                Some(verdict(true, names::REASON_APPLY_FAILED, error.to_string()))
            }
            Outcome::Failed(_) | Outcome::Paused => self.refused(),
        };
        stalled.unwrap_or_else(|| verdict(false, names::REASON_STABLE, "nothing stands in the way"))
    }

    fn ready(&self, accepted: &Verdict, available: &Verdict) -> Verdict {
        match self.outcome {
            Outcome::Invalid(_) => accepted.clone(),
            Outcome::Failed(error) => verdict(false, names::REASON_APPLY_FAILED, error.to_string()),
            // A paused resource is as ready as its replicas are.
            Outcome::Applied(_) | Outcome::Paused => available.clone(),
        }
    }

    fn reconciling(&self, progressing: &Verdict, stalled: &Verdict) -> Verdict {
        let is_tried_again = matches!(self.outcome, Outcome::Failed(error) if !error.is_refusal());
        if is_tried_again || (progressing.is_true && !stalled.is_true) {
            return Verdict { is_true: true, ..progressing.clone() };
        }
        verdict(false, names::REASON_STABLE, "nothing is left to do")
    }
}

/// What is said of pods that are tried out.
fn tried_out(canary: &Canary) -> String {
    let Canary { template, steps, replicas, ready, served, waits_for, .. } = canary;
    let (requests, failed) = (rounded(served.requests), rounded(served.failed));
    let waits_for = waits_for.as_ref().map_or_else(String::new, |what| format!("; it waits for {what}"));
    format!(
        "step {} of {steps} of the canary: {ready} of {replicas} pods of {} are ready and answered {requests} or more requests, of which {failed} or more failed{waits_for}",
        canary.number(),
        template.key
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::apply::{Applied, ApplyError};
    use crate::service::desired::Publication;
    use crate::service::fixtures;
    use crate::service::validate::Invalid;
    use codecrucible_contract::{Acknowledgement, Refused};
    use std::collections::BTreeMap;
    use std::collections::BTreeSet;

    fn applied() -> Outcome {
        awaiting(None)
    }

    fn awaiting(awaited: Option<&str>) -> Outcome {
        let publication = Publication { awaited: awaited.map(str::to_owned), ..fixtures::publication() };
        let written = BTreeSet::new();
        Outcome::Applied(Box::new(Applied { publication, deployment: None, written, barred: None }))
    }

    fn rollout(desired: i32, available: i32) -> Progress {
        Progress {
            desired,
            available,
            updated: available,
            replicas: desired,
            ready: available,
            is_observed: true,
            ..Progress::default()
        }
    }

    fn seen<'a>(
        outcome: &'a Outcome,
        progress: &'a Progress,
        spread: Option<&'a Spread>,
        trouble: Option<&'a str>,
    ) -> Seen<'a> {
        Seen {
            exposed: None,
            store_connected: None,
            outcome,
            progress,
            spread,
            trouble,
            certificate_valid: verdict(false, names::REASON_DISABLED, ""),
        }
    }

    /// The conditions that are true.
    fn truths(outcome: &Outcome, rollout: &Progress) -> Vec<&'static str> {
        truths_with(outcome, rollout, None)
    }

    fn truths_with(outcome: &Outcome, rollout: &Progress, spread: Option<&Spread>) -> Vec<&'static str> {
        seen(outcome, rollout, spread, None)
            .verdicts()
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
        let told = Acknowledgement { refused, ..fixtures::acknowledgement(revision, "x") };
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
    fn a_refusal_by_a_replica_that_is_about_to_be_replaced_stalls_nothing() {
        let rolling = Progress { replicas: 2, ..rollout(1, 1) };
        let refused = said("0-x", Some("no such model"));
        let expected = ["Accepted", "Available", "Progressing", "Ready", "Reconciling"];
        assert_eq!(truths_with(&applied(), &rolling, Some(&refused)), expected);
    }

    #[test]
    fn a_service_that_tries_new_pods_out_is_reconciling_and_tells_what_it_waits_for() {
        let publication = Publication { canary: Some(fixtures::canary()), ..fixtures::publication() };
        let written = BTreeSet::new();
        let outcome =
            Outcome::Applied(Box::new(Applied { publication, deployment: None, written, barred: None }));
        let truths = truths(&outcome, &rollout(3, 3));
        assert_eq!(truths, ["Accepted", "Available", "Progressing", "Ready", "Reconciling"]);
        let progress = rollout(3, 3);
        let told = seen(&outcome, &progress, None, None).progressing();
        let expected =
            "are ready and answered 10 or more requests, of which 1 or more failed; it waits for 20 requests";
        assert!(told.reason == "Canary" && told.message.ends_with(expected), "{told:?}");
    }

    #[test]
    fn a_service_that_starts_is_reconciling() {
        assert_eq!(truths(&applied(), &rollout(3, 0)), ["Accepted", "Progressing", "Reconciling"]);
        assert_eq!(truths(&applied(), &Progress::default()), ["Accepted", "Progressing", "Reconciling"]);
    }

    #[test]
    fn a_service_whose_new_pods_wait_for_a_certificate_is_not_at_rest() {
        let outcome = awaiting(Some("not issued"));
        let truths = truths(&outcome, &rollout(3, 3));
        assert_eq!(truths, ["Accepted", "Available", "Progressing", "Ready", "Reconciling"]);
        let progress = rollout(3, 3);
        let told = seen(&outcome, &progress, None, None).progressing();
        assert_eq!((told.reason, &*told.message), ("AwaitingCertificate", "not issued"));
    }

    #[test]
    fn an_invalid_resource_is_stalled_and_not_ready_even_while_replicas_serve() {
        let outcome = Outcome::Invalid(Invalid { reason: "Invalid", message: "spec.x: wrong".into() });
        assert_eq!(truths(&outcome, &rollout(3, 3)), ["Available", "Stalled"]);
    }

    fn failed(code: u16) -> Outcome {
        let status = kube::core::Status { code, ..kube::core::Status::default() };
        Outcome::Failed(ApplyError::new("Deployment", "demo", kube::Error::Api(status.boxed())))
    }

    #[test]
    fn an_object_that_is_refused_stalls_and_one_that_cannot_be_written_now_is_tried_again() {
        let progress = || Progress { is_observed: false, ..rollout(3, 3) };
        assert_eq!(truths(&failed(422), &progress()), ["Accepted", "Stalled"]);
        for passing in [403, 409, 429, 500] {
            let truths = truths(&failed(passing), &progress());
            assert_eq!(truths, ["Accepted", "Progressing", "Reconciling"]);
        }
    }

    fn available_of(desired: i32, available: i32) -> Verdict {
        seen(&applied(), &rollout(desired, available), None, None).available()
    }

    #[test]
    fn one_of_several_replicas_may_be_away_but_not_the_only_one() {
        assert!(available_of(3, 2).is_true);
        assert!(!available_of(3, 1).is_true);
        assert!(!available_of(1, 0).is_true);
        assert_eq!(available_of(0, 0).reason, "ScaledToZero");
    }

    #[test]
    fn a_rollout_that_gave_up_is_stalled() {
        let stuck = Progress { deadline_exceeded: true, ..rollout(3, 0) };
        assert_eq!(truths(&applied(), &stuck), ["Accepted", "Stalled"]);
    }

    #[test]
    fn a_bad_image_is_named_even_while_the_old_replicas_serve() {
        let trouble = Some("pod p: ErrImagePull");
        let rolling = Progress { replicas: 4, updated: 1, ..rollout(3, 3) };
        assert!(seen(&applied(), &rolling, None, trouble).available().is_true);
        assert!(seen(&applied(), &rolling, None, trouble).progressing().message.ends_with("ErrImagePull"));
        let stuck = Progress { deadline_exceeded: true, ..rolling };
        assert!(seen(&applied(), &stuck, None, trouble).stalled().message.ends_with("ErrImagePull"));
    }

    #[test]
    fn a_pods_trouble_is_in_the_message() {
        assert!(
            seen(&applied(), &rollout(1, 0), None, Some("pod p: ErrImagePull"))
                .available()
                .message
                .contains("ErrImagePull")
        );
    }
}
