//! The HTTP surface: the only part that knows axum.

mod access;
mod address;
mod admin;
mod admission;
mod anthropic_errors;
mod asking;
mod authentication;
mod automatic;
mod body;
mod browsers;
mod cache;
mod destination;
mod error;
mod events;
mod exchange;
mod explanation;
mod farewell;
mod first_words;
mod gateway;
mod heartbeat;
mod identifiers;
mod in_flight;
mod limits;
mod listener;
mod models;
mod oauth;
mod pieces;
mod route_header;
mod router;
mod served;
mod slow_readers;
mod synthesis;
mod watched_body;
mod wishes;

pub use listener::{Certificate, Listener, Shutdown};
pub use router::{admin_router, public_router, status_router};
