//! How a new pod template comes to all replicas: how far it has come, what keeps it, and when it is taken back.

mod failure;
mod progress;
mod rollback;
mod trouble;

pub(crate) use progress::Progress;
pub(crate) use rollback::{Chosen, Live, RolledBack};
pub(crate) use trouble::trouble;

use super::child::Child;
use super::history::Template;
use super::observe::Observed;
use super::validate::Validated;
use codecrucible_contract::Bundle;
use codecrucible_crds::CodeCrucible;
use failure::Judged;
use jiff::Timestamp;
use rollback::choose;

/// What the pods are to be made from: what the resource wants, unless that has failed.
pub(crate) fn choose_template(
    resource: &CodeCrucible,
    wanted: Template,
    validated: &Validated,
    observed: &Observed,
    now: Timestamp,
) -> Chosen {
    let deployment = observed.children.get(&Child::Deployment);
    let (key, progress) = (wanted.key.clone(), Progress::of(deployment));
    let failure = || {
        let judged = Judged {
            template: &key,
            policy: &validated.bundle,
            progress: &progress,
            pods: &observed.pods,
            answers: &observed.answers,
            published_at: published_at(resource, &validated.bundle),
            deadline: validated.progress_deadline,
        };
        judged.failure(now).filter(|_| resource.spec.rollout.automatic_rollback)
    };
    choose(wanted, &Live::of(deployment), observed.last_good.as_ref(), failure)
}

/// When a policy was handed out. Nothing while it is still to be.
fn published_at(resource: &CodeCrucible, bundle: &Bundle) -> Option<Timestamp> {
    let published = resource.status.as_ref()?.policy.as_ref()?;
    let is_this = published.revision == bundle.revision().to_string();
    published.published_at.as_ref().filter(|_| is_this).map(|time| time.0)
}
