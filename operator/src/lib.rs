//! The operator: makes running services out of `CodeCrucible` resources.
//!
//! [`reconcile`] is the heart: observe, validate, desired, apply, report. Only `observe` reads from the API
//! server, only `apply` and `report` write to it, and everything between but the making of secrets is pure. The
//! lease in [`leader`] decides which process of several does that.

pub mod cli;
mod controller;
mod leader;
mod reconcile;
mod telemetry;
