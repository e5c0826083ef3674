//! Kubernetes' conventions, as every reconcile here keeps them: conditions, Events, ownership, and when an object counts as
//! changed. Pure.

mod absence;
mod condition;
pub(crate) mod drift;
pub(crate) mod events;
mod ownership;
mod said;
mod secret;

pub(crate) use absence::is_absent;
pub(crate) use condition::{Verdict, condition, reconciling, stalled, verdict, whole_seconds};
pub(crate) use ownership::is_owned;
pub(crate) use said::shortened;
pub(crate) use secret::{secret, text_at};
