//! A Redis: how it is reached, and whether it answers. What lies there, the limits and the cache know.

mod connection;
mod health;
mod keeper;
mod newest;
#[cfg(test)]
pub(crate) mod redis_server;

pub use connection::StoreSettings;
pub(crate) use connection::{Connection, connect};
pub(crate) use health::Health;
pub(crate) use keeper::{Kept, keep_connected};
pub(crate) use newest::Newest;
