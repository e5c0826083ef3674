//! What the operator says about itself.

mod ledger;
mod logging;
mod metrics;
mod server;

pub(crate) use ledger::State;
pub(crate) use logging::install_logging;
pub(crate) use metrics::Metrics;
pub(crate) use server::serve;
