//! The operator: makes running services out of `CodeCrucible` resources.
//!
//! [`service`] is the heart: observe, validate, desired, apply, report. Only `observe` reads what a decision is made
//! from, only `apply` and `report` write, and everything between but the making of secrets is pure. The lease in
//! [`leader`] decides which process of several does that.

mod access_policy;
mod agreement;
mod check;
pub mod cli;
mod client;
mod connection;
mod controller;
mod conventions;
mod dry_run;
mod leader;
mod memory;
pub mod plugin;
mod reporter;
mod run;
mod service;
mod telemetry;
