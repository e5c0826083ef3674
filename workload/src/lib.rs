//! The service that a `CodeCrucible` resource describes.
//!
//! `http` knows axum; the domain (`identity`, `routing`, `attempts`, `gateway`, `synthesis`, `backend`) does not. Everything
//! that a request needs hangs on one [`snapshot::Snapshot`], which is replaced as a whole when the configuration
//! directory changes.

pub mod attempts;
pub mod authorization;
pub mod backend;
mod cache;
pub mod cli;
mod collect;
pub mod configuration;
mod descriptors;
pub mod dialects;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
pub mod gateway;
pub mod http;
pub mod huge_pages;
pub mod identity;
mod json;
pub mod limits;
mod redaction;
mod request_error;
pub mod routing;
pub mod serve;
pub mod service;
pub mod shadow;
pub mod snapshot;
pub mod store;
pub mod synthesis;
pub mod telemetry;
mod tls;
