//! How far a reconcile came: what `report` tells of, and whether it is to be tried again.

use super::apply::{Applied, ApplyError};
use super::validate::Invalid;
use codecrucible_crds::conditions;
use std::time::Duration;

/// Everything is looked at again after this long, should a notification have been lost, seconds.
const RESYNC_SECONDS: u64 = 600;
/// The object of somebody else has none of our labels, so nobody tells when it goes, and nobody when an API is served, seconds.
const UNTOLD_SECONDS: u64 = 20;

/// How far a reconcile came.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The resource is wrong; nothing was written, what serves goes on serving.
    Invalid(Invalid),
    /// The resource says that nothing is to be written.
    Paused,
    /// Everything is written.
    Applied(Box<Applied>),
    /// A write failed.
    Failed(ApplyError),
}

impl Outcome {
    /// When to look again; what is to be tried again sooner is an error.
    pub(crate) fn into_result(self) -> Result<Duration, ApplyError> {
        match self {
            Self::Failed(error) => Err(error),
            Self::Applied(applied) if applied.barred.is_some() => {
                applied.barred.map_or(Ok(Duration::from_secs(RESYNC_SECONDS)), Err)
            }
            Self::Invalid(invalid)
                if [conditions::REASON_NOT_OWNED, conditions::REASON_API_NOT_SERVED]
                    .contains(&invalid.reason) =>
            {
                Ok(Duration::from_secs(UNTOLD_SECONDS))
            }
            Self::Invalid(_) | Self::Paused | Self::Applied(_) => Ok(Duration::from_secs(RESYNC_SECONDS)),
        }
    }
}
