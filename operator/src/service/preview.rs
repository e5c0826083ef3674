//! What others may ask of a reconcile without letting it write: what it would do, and what is kept of a service's past.

use super::child::Child;
use super::decision::{Decision, accept};
use super::facts::Facts;
use super::history::{self, Series};
use super::observe::{self, Look, observe};
use super::outcome::Outcome;
use super::plan::Plan;
use super::rollout::Live;
use super::{Context, Newest, Surroundings};
use crate::access_policy::Targets;
use crate::telemetry::Metrics;
use codecrucible_contract::Bundle;
use codecrucible_crds::CodeCrucible;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use std::sync::Arc;

/// The name of the policy that is only compared, among those that are kept.
pub(crate) const SHADOW: &str = "shadow";

/// What a reconcile would do.
#[derive(Debug)]
pub(crate) enum Preview {
    /// The resource would be refused, with this message.
    Refused(String),
    /// Nothing would be written, because the resource says so.
    Paused,
    /// This would be written.
    Changes {
        changes: Vec<PreviewedChange>,
        /// What would become of the pods.
        pods: Pods,
        /// The policy that pods would read, if it is a new one.
        policy: Option<String>,
    },
}

/// What would become of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pods {
    Stay,
    Replaced,
    /// New ones would be beside them, until they pass or fail.
    TriedOut,
}

/// One object that would be written.
#[derive(Debug)]
pub(crate) struct PreviewedChange {
    pub(crate) verb: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) name: String,
}

/// A policy that is kept.
#[derive(Debug)]
pub(crate) struct KeptPolicy {
    pub(crate) revision: String,
    pub(crate) made_at: Option<Timestamp>,
}

/// What a reconcile of a resource would do if it were like this.
pub(crate) async fn preview(
    client: &Client,
    operator_namespace: &str,
    resource: &CodeCrucible,
) -> anyhow::Result<Preview> {
    let context = context(client, operator_namespace)?;
    let now = Timestamp::now();
    let mut observed = observe(&context, resource).await?;
    observed.look(&context, resource, Look::Exact).await?;
    let live = Live::of(observed.children.get(&Child::Deployment)).template;
    let decision = match accept(resource, &observed) {
        Err(left) => left,
        Ok(validated) => {
            let facts = Facts::gather(resource, &observed, now).await?;
            Decision::make(resource, validated, &facts, &observed, true, now)
        }
    };
    let plan = match decision {
        Decision::Leave(Outcome::Invalid(invalid)) => return Ok(Preview::Refused(invalid.message)),
        Decision::Leave(_) => return Ok(Preview::Paused),
        Decision::Apply(plan) => plan,
    };
    let Plan { removals, changes, publication, .. } = *plan;
    let pods = match live {
        _ if publication.canary.is_some() => Pods::TriedOut,
        Some(live) if live != publication.template => Pods::Replaced,
        _ => Pods::Stay,
    };
    let policy = changes.iter().any(|change| change.child == Child::Policy).then_some(publication.revision);
    let removed = removals.into_iter().map(|gone| PreviewedChange {
        verb: "delete",
        kind: gone.child.kind(),
        name: gone.name,
    });
    let changed = changes.into_iter().map(|change| PreviewedChange {
        verb: if observed.children.contains_key(&change.child) { "change" } else { "create" },
        kind: change.child.kind(),
        name: change.name,
    });
    Ok(Preview::Changes { changes: removed.chain(changed).collect(), pods, policy })
}

/// The policies that are kept of a service, the newest first.
pub(crate) async fn kept_policies(
    client: &Client,
    resource: &CodeCrucible,
) -> anyhow::Result<Vec<KeptPolicy>> {
    let mut kept = observe::kept(&context(client, "")?, resource).await?;
    kept.retain(|kept| kept.series == Series::Policy);
    history::newest_first(&mut kept);
    Ok(kept.into_iter().map(|kept| KeptPolicy { revision: kept.key, made_at: kept.made_at }).collect())
}

/// A policy that is kept, or the one that is only compared, which is called [`SHADOW`].
pub(crate) async fn kept_policy(
    client: &Client,
    resource: &CodeCrucible,
    revision: &str,
) -> anyhow::Result<Option<Bundle>> {
    let context = context(client, "")?;
    if revision == SHADOW {
        return Ok(observe::compared(&context, resource).await?);
    }
    Ok(observe::policy(&context, resource, revision).await?)
}

/// A service's pods.
pub(crate) async fn pods_of(client: &Client, resource: &CodeCrucible) -> anyhow::Result<Vec<Pod>> {
    Ok(observe::pods(&context(client, "")?, resource, Look::Exact).await?)
}

/// A context in which nothing is known yet, so that everything is read as it is stored.
fn context(client: &Client, operator_namespace: &str) -> anyhow::Result<Context> {
    let surroundings = Surroundings {
        namespace: operator_namespace.to_owned(),
        newest: Arc::new(Newest::default()),
        services: None,
        backends: None,
        clients: None,
        access_policies: None,
        targets: Arc::new(Targets::nobodys()),
        fuse_percent: 0,
    };
    Ok(Context::new(client.clone(), Arc::new(Metrics::new()?), surroundings))
}
