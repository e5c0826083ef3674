//! One reconcile, in five steps: [`observe`], [`validate`], [`desired`], [`apply`], [`report`]. Each step's result is
//! the next one's input, and types prove the order. Between them, [`facts`] makes what can be neither seen nor
//! computed, and [`plan`] leaves out what is as desired already.

mod acknowledgements;
mod apply;
mod child;
mod contested;
mod decision;
mod desired;
mod document;
mod facts;
#[cfg(test)]
pub(crate) mod fixtures;
mod fuse;
#[cfg(test)]
mod goldens;
mod history;
mod newest;
mod observe;
mod outcome;
mod plan;
mod pod;
mod preview;
#[cfg(test)]
mod properties;
mod quantity;
mod remediation;
mod report;
mod rollout;
mod surplus;
mod tls;
mod turns;
mod validate;

pub(crate) use child::Child;
pub(crate) use newest::Newest;
pub(crate) use pod::PUBLIC_PORT;
pub(crate) use preview::{
    KeptPolicy, Pods, Preview, PreviewedChange, SHADOW, kept_policies, kept_policy, pods_of, preview,
};

use crate::access_policy::Targets;
use crate::conventions::events::warning;
use crate::reporter::Reporter;
use crate::telemetry::Metrics;
use apply::{apply, renew, withdraw};
use codecrucible_contract::secrets::SecretError;
use codecrucible_crds::{AccessPolicy, CodeCrucible, ModelBackend, SynthesisClient, conditions};
use contested::{Contested, LeftAlone};
use decision::{Decision, accept};
use facts::Facts;
use fuse::Guard;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::api::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use observe::{GLANCE_SECONDS, Look, Observed, observe};
use outcome::Outcome;
use plan::Plan;
use report::report;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tls::Certificates;
use tokio::time::timeout;
use turns::Turns;

/// Longest reconcile, seconds.
const LONGEST_SECONDS: u64 = 120;

/// What is kept of a resource in memory.
pub(crate) type Known = PartialObjectMeta<CodeCrucible>;

/// What reconciles need from outside.
pub(crate) struct Context {
    client: Client,
    /// Where the operator runs.
    namespace: String,
    metrics: Arc<Metrics>,
    newest: Arc<Newest>,
    /// All backends, as far as they are known.
    backends: Option<Store<ModelBackend>>,
    /// The clients of all applications; nothing where they do not matter.
    clients: Option<Store<SynthesisClient>>,
    /// All access policies, as far as they are known.
    access_policies: Option<Store<AccessPolicy>>,
    /// Where is noted what services run of them.
    targets: Arc<Targets>,
    /// How many services may be acted on.
    guard: Guard,
    turns: Turns,
    contested: Contested,
    reporter: Reporter,
}

/// What a context is made from, beside a client and the metrics.
pub(crate) struct Surroundings {
    /// Where the operator runs.
    pub(crate) namespace: String,
    pub(crate) newest: Arc<Newest>,
    /// All services; nothing where none is acted on.
    pub(crate) services: Option<Store<Known>>,
    /// All backends, as far as they are known.
    pub(crate) backends: Option<Store<ModelBackend>>,
    /// The clients of all applications; nothing where they do not matter.
    pub(crate) clients: Option<Store<SynthesisClient>>,
    /// All access policies, as far as they are known.
    pub(crate) access_policies: Option<Store<AccessPolicy>>,
    /// Where is noted what services run of them.
    pub(crate) targets: Arc<Targets>,
    /// Largest part of all services that is acted on within a while, percent.
    pub(crate) fuse_percent: u8,
}

impl Context {
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>, surroundings: Surroundings) -> Self {
        let Surroundings {
            namespace,
            newest,
            services,
            backends,
            clients,
            access_policies,
            targets,
            fuse_percent,
        } = surroundings;
        let reporter = Reporter::new(client.clone(), metrics.clone());
        let guard = Guard::new(fuse_percent, services, metrics.fuse_blown.clone());
        Self {
            client,
            namespace,
            metrics,
            newest,
            backends,
            clients,
            access_policies,
            targets,
            guard,
            turns: Turns::default(),
            contested: Contested::default(),
            reporter,
        }
    }
}

/// Why a reconcile is to be tried again. What only a change of the resource can mend is no error: it is
/// reported in `status`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    /// The API server did not answer in time.
    #[error("not done within {LONGEST_SECONDS} s")]
    TimedOut,
    /// Reading failed.
    #[error("cannot observe: {0}")]
    Observe(#[from] observe::ObserveError),
    /// A secret could not be made.
    #[error("cannot make a secret: {0}")]
    Facts(#[from] SecretError),
    /// A write failed; the status says so.
    #[error("cannot apply: {0}")]
    Apply(#[from] apply::ApplyError),
    /// The status could not be written.
    #[error("cannot report: {0}")]
    Report(#[from] report::ReportError),
}

impl ReconcileError {
    /// The label in metrics, and the reason of the Event.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::TimedOut => conditions::REASON_TIMED_OUT,
            Self::Observe(_) => conditions::REASON_OBSERVE_FAILED,
            Self::Facts(_) => conditions::REASON_SECRET_NOT_MADE,
            Self::Apply(_) => conditions::REASON_APPLY_FAILED,
            Self::Report(_) => conditions::REASON_REPORT_FAILED,
        }
    }
}

/// Brings the cluster one step nearer to what a resource says, and the resource's status to what is seen.
/// Gives the time after which to look again, unless the resource is gone; `others` wait for a reconcile, and `read` is
/// told of the resource as it was read, before anything that it names is.
pub(crate) async fn reconcile(
    context: &Context,
    known: &Known,
    others: u64,
    read: impl FnOnce(&CodeCrucible),
) -> Result<Option<Duration>, ReconcileError> {
    // A request whose answer never comes would keep the resource, and one of few places, for ever. To stop
    // between two writes is as safe as a crash there.
    let reconciled =
        timeout(Duration::from_secs(LONGEST_SECONDS), try_reconcile(context, known, others, read))
            .await
            .unwrap_or(Err(ReconcileError::TimedOut));
    if let Err(error) = &reconciled {
        report::tell_of_failure(context, known, error).await;
    }
    reconciled
}

async fn try_reconcile(
    context: &Context,
    known: &Known,
    others: u64,
    read: impl FnOnce(&CodeCrucible),
) -> Result<Option<Duration>, ReconcileError> {
    if let Some(wait) = context.turns.wait(&ObjectRef::from_obj(known), Instant::now()) {
        return Ok(Some(wait));
    }
    let Some(mut resource) = observe::resource(&context.client, known).await? else {
        context.targets.forget(&ObjectRef::from_obj(known));
        return Ok(None);
    };
    read(&resource);
    let now = Timestamp::now();
    if is_untold(&resource) {
        match report::begin(context, &resource, now).await {
            // What cannot be told now is told with what comes of it.
            Err(error) => tracing::debug!(%error, "a resource was not told that it waits"),
            Ok(status) => {
                resource.status = Some(status);
                let who = ObjectRef::from_obj(known);
                if let Some(wait) = context.turns.give_way(who, others, Instant::now()) {
                    return Ok(Some(wait));
                }
            }
        }
    }
    let (observed, decision) = look_and_decide(context, &resource, now).await?;
    let mut pause = Duration::MAX;
    let outcome = match decision {
        Decision::Leave(outcome) => {
            if matches!(outcome, Outcome::Invalid(_)) {
                withdraw(context, &resource, &observed).await?;
                if let Some(due) = Certificates::due(&resource, &observed, now.as_second())? {
                    renew(context, &resource, &observed, &due).await?;
                }
            }
            outcome
        }
        Decision::Apply(mut plan) => {
            pause = give_way(context, &resource, &observed, &mut plan).await;
            apply(context, &resource, &observed, *plan).await
        }
    };
    let look_again = report(context, &resource, &observed, &outcome, now).await?.min(pause);
    Ok(Some(outcome.into_result()?.min(look_again)))
}

/// Whether what the resource asks for was written before: what did not come of it, a glance would not see, if it is no longer asked
/// for.
fn is_reported(resource: &CodeCrucible) -> bool {
    let Some(status) = &resource.status else { return false };
    let is_refused = |condition: &Condition| {
        condition.reason == conditions::REASON_APPLY_FAILED
            || (condition.type_ == conditions::ACCEPTED && condition.status != "True")
    };
    status.observed_generation.is_some()
        && status.observed_generation == resource.metadata.generation
        && !status.conditions.iter().any(is_refused)
}

/// Leaves alone what somebody else changes whenever it is written, and tells of it, also in the status. Gives how long at most.
async fn give_way(
    context: &Context,
    resource: &CodeCrucible,
    observed: &Observed,
    plan: &mut Plan,
) -> Duration {
    let owner = resource.metadata.uid.as_deref().unwrap_or_default();
    let left = context.contested.restrain(owner, &observed.children, &mut plan.changes, Instant::now());
    for LeftAlone { child, name, .. } in &left {
        let note = format!("{} {name:?} is changed by somebody else whenever it is written", child.kind());
        context.reporter.tell(resource, &warning(conditions::REASON_CONTESTED, &note)).await;
        plan.publication.notes.push(note);
    }
    left.into_iter().map(|left| left.pause).min().unwrap_or(Duration::MAX)
}

/// Whether nothing was said of the resource but what the API server says of each that is new.
fn is_untold(resource: &CodeCrucible) -> bool {
    resource.status.as_ref().is_none_or(|status| {
        let is_told = status.conditions.iter().any(|condition| condition.reason == conditions::REASON_QUEUED);
        status.observed_generation.is_none_or(|generation| generation < 0) && !is_told
    })
}

/// What follows from a glance, if that is that all is well.
async fn glance(
    context: &Context,
    resource: &CodeCrucible,
    observed: &mut Observed,
    may_act: bool,
    now: Timestamp,
) -> Option<Decision> {
    // An API server that does not remember enough waits for a while, and then refuses.
    let glance =
        timeout(Duration::from_secs(GLANCE_SECONDS), observed.look(context, resource, Look::Glance)).await;
    if !matches!(glance, Ok(Ok(()))) {
        tracing::debug!(?glance, "a glance was not possible");
        return None;
    }
    // No key is made after a glance, only to be thrown away.
    let facts = Facts::stored(observed, now)?;
    observed.ask_replicas(resource).await;
    let decision = match accept(resource, observed) {
        Err(left) => left,
        Ok(validated) => Decision::make(resource, validated, &facts, observed, may_act, now),
    };
    decision.is_settled().then_some(decision)
}

/// A glance at what belongs to the resource is enough where all is well, which is nearly always; before anything is
/// written or refused, it is looked at exactly.
async fn look_and_decide(
    context: &Context,
    resource: &CodeCrucible,
    now: Timestamp,
) -> Result<(Observed, Decision), ReconcileError> {
    let may_act = context.guard.permits(resource, now);
    let mut observed = observe(context, resource).await?;
    // What was asked for only now is hardly ever there already.
    if is_reported(resource)
        && let Some(decision) = glance(context, resource, &mut observed, may_act, now).await
    {
        return Ok((observed, decision));
    }
    observed.look(context, resource, Look::Exact).await?;
    observed.ask_replicas(resource).await;
    let decision = match accept(resource, &observed) {
        Err(left) => left,
        Ok(validated) => {
            let facts = Facts::gather(resource, &observed, now).await?;
            Decision::make(resource, validated, &facts, &observed, may_act, now)
        }
    };
    Ok((observed, decision))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_resource_is_told_once_that_it_waits() {
        let is_untold = |status: Value| {
            let mut resource = fixtures::resource(json!({}));
            resource.status = serde_json::from_value(status).unwrap();
            is_untold(&resource)
        };
        let said = |generation: Value, reason: &str| {
            let condition = json!({"type": "Reconciling", "status": "True", "reason": reason, "message": "",
                "lastTransitionTime": "1970-01-01T00:00:00Z"});
            json!({"observedGeneration": generation, "conditions": [condition]})
        };
        assert!(is_untold(Value::Null));
        assert!(is_untold(said(json!(-1), "Pending")), "that is what the API server says by default");
        assert!(!is_untold(said(json!(-1), "Queued")));
        assert!(!is_untold(said(json!(1), "RollingOut")));
    }
}
