//! How a new pod template comes to all replicas: how far it has come, what keeps it, and when it is taken back.

mod failure;
mod policy;
mod progress;
mod rollback;
mod trial;
mod trouble;

#[cfg(test)]
pub(crate) use failure::Failure;
pub(crate) use failure::ready_since;
pub(crate) use policy::{changed_backend, choose_policy, moved_model};
pub(crate) use progress::Progress;
pub(crate) use rollback::{Chosen, Live, RolledBack};
pub(crate) use trial::{TRIAL, are_proven};
pub(crate) use trouble::trouble;

use super::child::Child;
use super::history::Template;
use super::observe::Observed;
use super::validate::Validated;
use codecrucible_contract::Bundle;
use codecrucible_crds::CodeCrucible;
use failure::Judged;
use jiff::Timestamp;
pub(crate) use rollback::choose;
use rollback::hold;

/// What the pods are to be made from: what the resource wants, unless that has failed.
pub(crate) fn choose_template(
    resource: &CodeCrucible,
    wanted: Template,
    validated: &Validated,
    observed: &Observed,
    now: Timestamp,
) -> Chosen {
    let deployment = observed.children.get(&Child::Deployment);
    let (key, progress, live) = (wanted.key.clone(), Progress::of(deployment), Live::of(deployment));
    let failure = || {
        let judged = Judged {
            template: &key,
            policy: &validated.bundle,
            progress: &progress,
            pods: &observed.pods,
            answers: &observed.answers,
            published_at: published_at(resource, &validated.bundle),
            since: live.since,
            deadline: validated.progress_deadline,
        };
        judged.failure(now)
    };
    // Whoever does not want to go back gets what the resource wants, also where something was taken back before.
    let goes_back = observed.last_good.as_ref().filter(|_| resource.spec.rollout.automatic_rollback);
    // A pod that waits for a certificate is no reason to take clients the one that they have.
    let awaiting = observed.last_good.as_ref().filter(|_| validated.encryption.awaits().is_some());
    hold(choose(wanted, &live, goes_back, now, failure), &live, awaiting, now)
}

/// When a policy was handed out. Nothing while it is still to be.
fn published_at(resource: &CodeCrucible, bundle: &Bundle) -> Option<Timestamp> {
    let published = resource.status.as_ref()?.policy.as_ref()?;
    let is_this = published.revision == bundle.revision().to_string();
    published.published_at.as_ref().filter(|_| is_this).map(|time| time.0)
}
