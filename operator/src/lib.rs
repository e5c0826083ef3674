//! The operator: makes running services out of `CodeCrucible` resources.
//!
//! [`reconcile`] is the heart: observe, validate, desired, apply, report. Only `observe` reads from the API
//! server, only `apply` and `report` write to it, and everything between is pure.

mod backoff;
pub mod cli;
mod controller;
mod leader;
pub mod reconcile;
mod telemetry;
