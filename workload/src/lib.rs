//! The service that a `CodeCrucible` resource describes.
//!
//! `http` knows axum; the domain (`identity`, `chat`, `synthesis`, `backend`) does not. Everything that a
//! request needs hangs on one [`snapshot::Snapshot`], which is replaced as a whole when the configuration
//! directory changes.

pub mod backend;
pub mod chat;
pub mod cli;
pub mod configuration;
pub mod http;
pub mod identity;
pub mod serve;
pub mod snapshot;
pub mod synthesis;
pub mod telemetry;
