//! The gateway's core: what must be known of a chat request before its bytes go on, and what must hold
//! for an answer's bytes on their way back.

mod answer_size;
mod embedded_chat;
mod guarded_stream;
mod messages;
mod question;
mod request;
mod responses;
mod usage;

pub use embedded_chat::{ChunkWriter, parse_for_embedded, whole_answer};
pub use guarded_stream::{Guarded, GuardedStream, Trouble};
pub use question::{OpenAiAnswer, OpenAiQuestion};
pub use request::OpenAiRequest;
pub use usage::Meter;
