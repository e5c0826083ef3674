//! Who calls: clients, their tokens and the keys that sign them.

mod client;
mod keys;
mod token;

pub use client::Client;
pub use keys::{KeyError, SigningKeys};
pub use token::{IssueError, IssuedToken, Principal, TokenAuthority, TokenError};
