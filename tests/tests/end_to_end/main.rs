//! The product on a real cluster with a real model: what a platform team and its applications see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failed expectation is a failed test"
)]

mod access;
mod audit;
mod automatic;
mod bad_resources;
mod cache;
mod canary;
mod clients;
mod clusters;
mod concurrency;
mod crash;
mod dialects;
mod drift;
mod dry_run;
mod exposure;
mod failover;
mod farewell;
mod faults;
mod installs;
mod leader;
mod limits;
mod load;
mod model_server;
mod network;
mod ollama_server;
mod placement;
mod plugin;
mod policy;
mod rbac;
mod redis_server;
mod remediation;
mod replicas;
mod rollout;
mod rules;
mod schemas;
mod sdk;
mod served;
mod service;
mod shadow;
mod short_lives;
mod state;
mod support;
mod tls;
mod traces;
