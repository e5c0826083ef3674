//! How a new pod template comes to all replicas: how far it has come, and what keeps it.

mod progress;
mod trouble;

pub(crate) use progress::Progress;
pub(crate) use trouble::trouble;
