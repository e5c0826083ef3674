//! One reconcile of an `AccessPolicy`: compile it, and tell which services run it.
//!
//! What it comes to is handed out by the services that select it, each in a reconcile of its own; what they were seen to
//! run lies in [`Targets`].

mod compile;
mod roles;
mod status;
mod targets;

pub(crate) use compile::compile;
pub(crate) use targets::{Seen, Targets};

use crate::conventions::events::warning;
use crate::reporter::Reporter;
use crate::service::Known;
use crate::telemetry::Metrics;
use codecrucible_crds::{AccessPolicy, conditions};
use jiff::Timestamp;
use kube::runtime::reflector::Store;
use kube::{Api, Client, ResourceExt as _};
use status::status;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Longest reconcile, seconds.
const LONGEST_SECONDS: u64 = 60;
/// Everything is looked at again after this long, should a notification have been lost, seconds.
const RESYNC_SECONDS: u64 = 600;

/// What reconciles need from outside.
pub(crate) struct Context {
    client: Client,
    reporter: Reporter,
    targets: Arc<Targets>,
    services: Store<Known>,
}

impl Context {
    pub(crate) fn new(
        client: Client,
        metrics: Arc<Metrics>,
        targets: Arc<Targets>,
        services: Store<Known>,
    ) -> Self {
        let reporter = Reporter::new(client.clone(), metrics);
        Self { client, reporter, targets, services }
    }
}

/// Why a reconcile is to be tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessPolicyError {
    /// The API server did not answer in time.
    #[error("not done within {LONGEST_SECONDS} s")]
    TimedOut,
    /// Reading failed.
    #[error("cannot observe: {0}")]
    Observe(#[source] Box<kube::Error>),
    /// The status could not be written.
    #[error("cannot report: {0}")]
    Report(#[source] Box<kube::Error>),
}

impl AccessPolicyError {
    /// The label in metrics, and the reason of the Event.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::TimedOut => conditions::REASON_TIMED_OUT,
            Self::Observe(_) => conditions::REASON_OBSERVE_FAILED,
            Self::Report(_) => conditions::REASON_REPORT_FAILED,
        }
    }
}

/// Brings a policy's status to what is seen. Gives the time after which to look again, unless the policy is gone.
pub(crate) async fn reconcile(
    context: &Context,
    known: &AccessPolicy,
) -> Result<Option<Duration>, AccessPolicyError> {
    let reconciled = timeout(Duration::from_secs(LONGEST_SECONDS), try_reconcile(context, known))
        .await
        .unwrap_or(Err(AccessPolicyError::TimedOut));
    if let Err(error) = &reconciled {
        context.reporter.tell(known, &warning(error.reason(), &error.to_string())).await;
    }
    reconciled
}

async fn try_reconcile(
    context: &Context,
    known: &AccessPolicy,
) -> Result<Option<Duration>, AccessPolicyError> {
    let (name, namespace) = (known.name_any(), known.namespace().unwrap_or_default());
    let api: Api<AccessPolicy> = Api::namespaced(context.client.clone(), &namespace);
    let found = api.get_opt(&name).await.map_err(|error| AccessPolicyError::Observe(Box::new(error)))?;
    let Some(policy) = found.filter(|policy| policy.metadata.deletion_timestamp.is_none()) else {
        return Ok(None);
    };
    let compiled = compile(&policy);
    let tally = context.targets.tally(&namespace, &name, compiled.as_ref().ok(), &context.services);
    let status = status(&policy, compiled.as_ref().err(), tally, Timestamp::now());
    let before = policy.status.as_ref();
    let reported = context.reporter.report(&policy, before, &status, |status| &status.conditions).await;
    reported.map_err(|error| AccessPolicyError::Report(Box::new(error)))?;
    Ok(Some(Duration::from_secs(RESYNC_SECONDS)))
}
