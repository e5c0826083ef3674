//! What the operator says about itself.

mod ledger;
mod logging;
mod metrics;
mod server;
mod traces;

pub(crate) use ledger::State;
pub(crate) use logging::install;
pub(crate) use metrics::Metrics;
pub(crate) use server::serve;
