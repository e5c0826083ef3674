//! How a new pod template comes to all replicas: how far it has come, what keeps it, and when it is taken back.

mod canary;
mod failure;
mod policy;
mod progress;
mod rollback;
mod trial;
mod trouble;

pub(crate) use canary::{CANARY_PAUSE, Canary, CanaryRules, Step, rounded};
#[cfg(test)]
pub(crate) use failure::Failure;
pub(crate) use failure::ready_since;
pub(crate) use policy::{changed_backend, choose_policy, has_other_store, moved_model};
pub(crate) use progress::Progress;
pub(crate) use rollback::{Chosen, Live, RolledBack};
pub(crate) use trial::{TRIAL, are_proven};
pub(crate) use trouble::trouble;

use super::child::Child;
use super::history::Template;
use super::observe::Observed;
use super::validate::Validated;
use canary::{Heard, LiveCanary, Tryout};
use codecrucible_contract::Bundle;
use codecrucible_crds::CodeCrucible;
use failure::Judged;
use jiff::Timestamp;
pub(crate) use rollback::choose;
use rollback::hold;

/// What the pods are to be made from: what the resource wants, unless that has failed, or is tried out first.
pub(crate) fn choose_template(
    resource: &CodeCrucible,
    wanted: Template,
    validated: &Validated,
    observed: &Observed,
    now: Timestamp,
) -> Chosen {
    let deployment = observed.children.get(&Child::Deployment);
    let (own, own_progress) = (Live::of(deployment), Progress::of(deployment));
    let key = wanted.key.clone();
    let failure = |progress: &Progress, since| {
        let judged = Judged {
            template: &key,
            policy: &validated.bundle,
            progress,
            pods: &observed.pods,
            answers: &observed.answers,
            published_at: published_at(resource, &validated.bundle),
            since,
            deadline: validated.progress_deadline,
        };
        judged.failure(now)
    };
    // Whoever does not want to go back gets what the resource wants, also where something was taken back before. But what failed
    // while it was tried out stays away.
    let (rollout, last_good) = (&resource.spec.rollout, observed.last_good.as_ref());
    let goes_back = |_: &&Template| rollout.automatic_rollback || rollout.canary.is_some();
    let fails = || failure(&own_progress, own.since).filter(|_| rollout.automatic_rollback);
    let chosen = choose(wanted, &own, last_good.filter(goes_back), now, fails);
    // A pod that waits for a certificate is no reason to take clients the one that they have.
    let awaiting = last_good.filter(|_| validated.encryption.awaits().is_some());
    let chosen = hold(chosen, &own, awaiting, now);
    let Some((rules, last_good)) = validated.canary.as_ref().zip(last_good) else { return chosen };
    let deployment = observed.children.get(&Child::Canary);
    let (live, progress) = (LiveCanary::of(deployment), Progress::of(deployment));
    let heard = Heard::of(&key, &observed.pods, &observed.answers);
    let tryout = Tryout {
        rules,
        own: &own,
        own_progress: &own_progress,
        live: &live,
        progress: &progress,
        heard: &heard,
        deadline: validated.progress_deadline,
        is_barred: observed.foreign.contains(&Child::Canary),
    };
    tryout.decide(chosen, last_good, now, || failure(&progress, live.pods.since))
}

/// When a policy was handed out. Nothing while it is still to be.
fn published_at(resource: &CodeCrucible, bundle: &Bundle) -> Option<Timestamp> {
    let published = resource.status.as_ref()?.policy.as_ref()?;
    let is_this = published.revision == bundle.revision().to_string();
    published.published_at.as_ref().filter(|_| is_this).map(|time| time.0)
}
