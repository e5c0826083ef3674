//! Who calls: clients, their tokens and the keys that sign them.

mod clients;
mod keys;
mod token;

pub use clients::{KnownClients, namespace_of};
pub use keys::{KeyError, SigningKeys};
pub use token::{IssueError, IssuedToken, Principal, TokenAuthority, TokenError};
