//! Clients of applications: one reconcile of a `SynthesisClient`. Observe what it names, decide, make its Secret, report.
//!
//! The service itself learns of its clients in a reconcile of its own, from the hash that stands in each one's status.

mod apply;
mod decision;
mod observe;
mod status;

use crate::conventions::events::warning;
use crate::reporter::Reporter;
use crate::telemetry::Metrics;
use codecrucible_contract::secrets::SecretError;
use codecrucible_crds::{SynthesisClient, conditions};
use decision::{Decision, decide};
use jiff::Timestamp;
use kube::Client;
use observe::observe;
use status::status;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Longest reconcile, seconds.
const LONGEST_SECONDS: u64 = 60;
/// Everything is looked at again after this long, should a notification have been lost, seconds.
const RESYNC_SECONDS: u64 = 600;
/// The Secret of somebody else names no client, so nobody tells when it goes, seconds.
const NOT_OWNED_SECONDS: u64 = 20;

/// What reconciles need from outside.
pub(crate) struct Context {
    client: Client,
    metrics: Arc<Metrics>,
    /// The only namespace that the operator may look into; all, if it is none.
    watched_namespace: Option<String>,
    reporter: Reporter,
}

impl Context {
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>, watched_namespace: Option<String>) -> Self {
        let reporter = Reporter::new(client.clone(), metrics.clone());
        Self { client, metrics, watched_namespace, reporter }
    }
}

/// Why a reconcile is to be tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistrationError {
    /// The API server did not answer in time.
    #[error("not done within {LONGEST_SECONDS} s")]
    TimedOut,
    /// Reading failed.
    #[error("cannot observe {what}: {error}")]
    Observe {
        what: &'static str,
        #[source]
        error: Box<kube::Error>,
    },
    /// A secret could not be made.
    #[error("cannot make a secret: {0}")]
    Secret(#[from] SecretError),
    /// The Secret could not be written.
    #[error("cannot write the Secret: {0}")]
    Apply(#[source] Box<kube::Error>),
    /// The status could not be written.
    #[error("cannot report: {0}")]
    Report(#[source] Box<kube::Error>),
}

impl RegistrationError {
    /// The label in metrics, and the reason of the Event.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::TimedOut => conditions::REASON_TIMED_OUT,
            Self::Observe { .. } => conditions::REASON_OBSERVE_FAILED,
            Self::Secret(_) => conditions::REASON_SECRET_NOT_MADE,
            Self::Apply(_) => conditions::REASON_APPLY_FAILED,
            Self::Report(_) => conditions::REASON_REPORT_FAILED,
        }
    }
}

/// Brings a client's Secret to what it should be, and its status to what is seen. Gives the time after which to look again,
/// unless the client is gone, whose Secret goes with it.
pub(crate) async fn register(
    context: &Context,
    known: &SynthesisClient,
) -> Result<Option<Duration>, RegistrationError> {
    let registered = timeout(Duration::from_secs(LONGEST_SECONDS), try_register(context, known))
        .await
        .unwrap_or(Err(RegistrationError::TimedOut));
    if let Err(error) = &registered {
        let event = warning(error.reason(), &error.to_string());
        context.reporter.tell(known, &event).await;
    }
    registered
}

async fn try_register(
    context: &Context,
    known: &SynthesisClient,
) -> Result<Option<Duration>, RegistrationError> {
    let Some(client) = observe::client(context, known).await? else { return Ok(None) };
    let observed = observe(context, &client).await?;
    let decision = decide(&client, &observed, codecrucible_contract::secrets::random_token)?;
    apply::apply(context, &client, &decision).await?;
    report(context, &client, &decision, Timestamp::now()).await?;
    let is_taken = decision.accepted.reason == conditions::REASON_NOT_OWNED;
    Ok(Some(Duration::from_secs(if is_taken { NOT_OWNED_SECONDS } else { RESYNC_SECONDS })))
}

/// Writes the status if it differs, and then tells of what changed.
async fn report(
    context: &Context,
    client: &SynthesisClient,
    decision: &Decision,
    now: Timestamp,
) -> Result<(), RegistrationError> {
    let status = status(client, decision, now);
    let before = client.status.as_ref();
    let reported = context.reporter.report(client, before, &status, |status| &status.conditions).await;
    reported.map(|_| ()).map_err(|error| RegistrationError::Report(Box::new(error)))
}
