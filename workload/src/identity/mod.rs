//! Who calls: clients, their tokens and the keys that sign them.

mod client;
mod keys;
mod token;

pub use client::Client;
pub use keys::{KeyError, SigningKeys, generate_signing_key_pem, random_secret};
pub use token::{IssuedToken, Principal, TokenAuthority, TokenError};
