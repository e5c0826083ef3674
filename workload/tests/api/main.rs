//! The service over real sockets: every kind of bad request, token and backend.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

mod access;
mod affinity;
mod attempts;
mod automatic;
mod backends;
mod browsers;
mod cache;
mod cache_layers;
mod concurrency;
mod configuration;
mod dialects;
mod endpoints;
mod exchange;
mod explanation;
mod farewell;
mod hedging;
mod joined;
mod limits;
mod program;
mod redaction;
#[allow(dead_code, reason = "unit tests need more of it")]
#[path = "../../src/store/redis_server.rs"]
mod redis_server;
mod requests;
mod shadow;
mod status;
mod support;
mod tokens;
mod traces;
mod warm_up;
