//! One reconcile, in five steps. Each step's result is the next one's input, and types prove the order.

mod apply;
mod child;
mod desired;
mod drift;
mod observe;
mod report;
mod validate;

use crate::telemetry::Metrics;
use codecrucible_crds::{CodeCrucible, conditions};
use jiff::Timestamp;
use kube::Client;
use std::sync::Arc;

/// What reconciles need from outside.
pub struct Context {
    client: Client,
    metrics: Arc<Metrics>,
}

impl Context {
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self { client, metrics }
    }
}

/// Why a reconcile is to be tried again. What only a change of the resource can mend is no error: it is
/// reported in `status`.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Reading failed.
    #[error("cannot observe: {0}")]
    Observe(#[from] observe::ObserveError),
    /// A secret could not be made.
    #[error("cannot make a secret: {0}")]
    Facts(#[from] desired::FactsError),
    /// A write failed; the status says so.
    #[error("cannot apply: {0}")]
    Apply(#[from] apply::ApplyError),
    /// The status could not be written.
    #[error("cannot report: {0}")]
    Report(#[from] report::ReportError),
}

impl ReconcileError {
    /// The label in metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Observe(_) => "ObserveFailed",
            Self::Facts(_) => "SecretNotMade",
            Self::Apply(_) => conditions::REASON_APPLY_FAILED,
            Self::Report(_) => "ReportFailed",
        }
    }
}

/// Brings the cluster one step nearer to what a resource says, and the resource's status to what is seen.
pub async fn reconcile(context: &Context, resource: &CodeCrucible) -> Result<(), ReconcileError> {
    if resource.metadata.deletion_timestamp.is_some() {
        // Children go by garbage collection.
        return Ok(());
    }
    let observed = observe::observe(&context.client, resource).await?;
    let validated = validate::validate(resource, &observed);
    let outcome = match validated {
        Err(invalid) => apply::Outcome::Invalid(invalid),
        Ok(validated) => {
            let facts = desired::Facts::gather(&observed)?;
            let desired = desired::desired(resource, &validated, &observed, facts);
            if resource.spec.maintenance.paused {
                apply::Outcome::Paused(desired.revision())
            } else {
                apply::apply(context, resource, &observed, desired).await
            }
        }
    };
    report::report(context, resource, &observed, &outcome, Timestamp::now()).await?;
    outcome.into_result().map_err(Into::into)
}
