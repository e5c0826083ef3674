//! The gateway's core: what must be known of a chat request before its bytes go on, and what must hold
//! for an answer's bytes on their way back.

mod guarded_stream;
mod nesting;
mod openai;
mod question;
mod request;

pub use guarded_stream::{GuardedStream, Trouble};
pub use openai::{ChunkWriter, parse_for_embedded, whole_answer};
pub use question::{ChatAnswer, ChatQuestion};
pub use request::ChatRequest;
