//! Ollama's own chat API. It has a compatible one beside it, which cannot be told how much of a prompt the model is to read: what is longer than
//! the server's default is cut off there, and nobody told.

mod answer;
mod request;

pub use answer::Reader;
pub use request::{unsupported, write_request};
