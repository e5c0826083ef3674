//! The whole status, computed from what was seen. The same state gives the same status.

use super::certificate::{certificate, certificate_valid};
use super::clients::clients;
use super::conditions::Seen;
use super::exposure::exposed;
use super::policy::Spread;
use super::store::store_connected;
use crate::conventions::{condition, whole_seconds};
use crate::service::child::Child;
use crate::service::desired::{Publication, metadata};
use crate::service::observe::Observed;
use crate::service::outcome::Outcome;
use crate::service::rollout::{Canary, Progress, are_proven, rounded, trouble};
use codecrucible_crds::{CanaryStatus, CodeCrucible, CodeCrucibleStatus, RolloutPhase, RolloutStatus};
use jiff::Timestamp;

/// The status of a resource.
pub(super) fn status(
    resource: &CodeCrucible,
    observed: &Observed,
    outcome: &Outcome,
    spread: Option<&Spread>,
    now: Timestamp,
) -> CodeCrucibleStatus {
    let before = resource.status.clone().unwrap_or_default();
    let (deployment, endpoint) = match outcome {
        Outcome::Applied(applied) => {
            (applied.deployment.as_ref(), Some(applied.publication.endpoint.clone()))
        }
        // What was published before still stands.
        Outcome::Invalid(_) | Outcome::Paused | Outcome::Failed(_) => {
            (observed.children.get(&Child::Deployment), before.endpoint)
        }
    };
    let progress = Progress::of(deployment);
    let tried_out = Progress::of(observed.children.get(&Child::Canary));
    let trouble = trouble(&progress, &observed.pods).or(tried_out.replica_failure);
    let certificate = certificate(before.certificate.as_ref(), observed, outcome, now);
    let certificate_valid = certificate_valid(certificate.as_ref(), outcome, now);
    let exposed = exposed(resource, observed, outcome);
    let seen = Seen {
        certificate_valid,
        exposed,
        store_connected: store_connected(resource, observed, spread),
        outcome,
        progress: &progress,
        spread,
        trouble: trouble.as_deref(),
    };
    let generation = resource.metadata.generation;
    let conditions = seen
        .verdicts()
        .into_iter()
        .map(|(type_, verdict)| condition(type_, verdict, generation, &before.conditions, now));
    let clients = clients(before.clients.as_ref(), observed, outcome, now);
    let rollout = rollout(before.rollout, outcome, &progress, spread, are_proven(&observed.pods, now));
    CodeCrucibleStatus {
        observed_generation: generation,
        conditions: conditions.collect(),
        replicas: progress.replicas,
        ready_replicas: progress.ready,
        selector: Some(metadata::selector_text(resource)),
        endpoint,
        image: progress.image,
        policy: spread.map(Spread::status),
        clients,
        certificate,
        rollout,
    }
}

/// What the pods are made from, and what ran well last: that of which every replica said that it runs the policy, and has
/// served for a while.
fn rollout(
    before: Option<RolloutStatus>,
    outcome: &Outcome,
    progress: &Progress,
    spread: Option<&Spread>,
    is_proven: bool,
) -> Option<RolloutStatus> {
    let Outcome::Applied(applied) = outcome else { return before };
    let Publication { template, rolled_back, canary, revision, awaited, .. } = &applied.publication;
    let has_arrived = progress.is_complete() && spread.is_some_and(Spread::has_arrived);
    let (last_good, last_good_policy) = if has_arrived && is_proven {
        (Some(template.clone()), Some(revision.clone()))
    } else {
        before.map_or((None, None), |before| (before.last_good, before.last_good_policy))
    };
    let phase = match rolled_back {
        Some(_) => RolloutPhase::RolledBack,
        None if progress.deadline_exceeded => RolloutPhase::Failed,
        None if awaited.is_some() || canary.is_some() => RolloutPhase::Progressing,
        None if has_arrived || (progress.is_complete() && progress.desired == 0) => RolloutPhase::Complete,
        None => RolloutPhase::Progressing,
    };
    let canary = canary.as_ref().map(canary_status);
    Some(RolloutStatus { phase, revision: template.clone(), last_good, last_good_policy, canary })
}

fn canary_status(canary: &Canary) -> CanaryStatus {
    let number = |number: u64| i64::try_from(rounded(number)).unwrap_or(i64::MAX);
    CanaryStatus {
        revision: canary.template.key.clone(),
        step: i32::try_from(canary.number()).unwrap_or(i32::MAX),
        steps: i32::try_from(canary.steps).unwrap_or(i32::MAX),
        step_since: Some(whole_seconds(canary.step_since)),
        replicas: canary.replicas,
        ready_replicas: canary.ready,
        requests: number(canary.served.requests),
        failed_requests: number(canary.served.failed),
    }
}

/// Whether something new is complete, and has not served long enough yet to be gone back to.
pub(super) fn is_on_trial(status: &CodeCrucibleStatus) -> bool {
    let rollout = status.rollout.as_ref();
    let is_new = |rollout: &RolloutStatus| rollout.last_good.as_ref() != Some(&rollout.revision);
    // Without a replica nothing is tried.
    status.ready_replicas > 0
        && rollout.is_some_and(|rollout| rollout.phase == RolloutPhase::Complete && is_new(rollout))
}

#[cfg(test)]
mod tests {
    use super::super::policy::spread;
    use super::*;
    use crate::service::fixtures;
    use crate::service::validate::Invalid;
    use serde_json::json;

    /// The status of an invalid resource at some second.
    fn status_at(resource: &CodeCrucible, second: i64) -> CodeCrucibleStatus {
        let (observed, now) = (fixtures::observed(), Timestamp::from_second(second).unwrap());
        let spread = spread(resource, &observed, &invalid(), now);
        status(resource, &observed, &invalid(), spread.as_ref(), now)
    }

    fn invalid() -> Outcome {
        Outcome::Invalid(Invalid { reason: "Invalid", message: "spec.x: wrong".into() })
    }

    #[test]
    fn only_what_serves_is_on_trial_and_only_until_it_is_proven() {
        let status = |ready_replicas, last_good: Option<&str>| CodeCrucibleStatus {
            ready_replicas,
            rollout: Some(RolloutStatus {
                phase: RolloutPhase::Complete,
                revision: "new".into(),
                last_good: last_good.map(str::to_owned),
                last_good_policy: None,
                canary: None,
            }),
            ..CodeCrucibleStatus::default()
        };
        assert!(is_on_trial(&status(1, Some("old"))) && is_on_trial(&status(1, None)));
        assert!(!is_on_trial(&status(1, Some("new"))));
        assert!(!is_on_trial(&status(0, None)), "it would be looked at for ever");
    }

    #[test]
    fn the_same_state_gives_the_same_status_later() {
        let mut resource = fixtures::resource(json!({}));
        let first = status_at(&resource, 100);
        resource.status = Some(first.clone());
        assert_eq!(status_at(&resource, 200), first);
    }

    #[test]
    fn an_invalid_change_keeps_what_was_published() {
        let mut resource = fixtures::resource(json!({}));
        let policy = codecrucible_crds::PolicyStatus {
            revision: "3-0123456789ab".into(),
            hash: "h".into(),
            published_at: None,
            pinned: false,
            access: Vec::new(),
            applied_replicas: 0,
            replicas: Vec::new(),
            rejected: Vec::new(),
            shadow: None,
        };
        resource.status = Some(CodeCrucibleStatus { policy: Some(policy.clone()), ..Default::default() });
        assert_eq!(status_at(&resource, 100).policy, Some(policy));
    }
}
