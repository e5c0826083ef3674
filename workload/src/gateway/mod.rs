//! The gateway's core: what must be known of a chat request before its bytes go on, and what must hold
//! for an answer's bytes on their way back.

mod answer_size;
mod collected;
mod guarded_stream;
mod message_list;
mod question;
mod refused;
mod request;
mod shortfall;
mod shown;
mod stream_tail;
mod usage;

pub use collected::collected;
pub use guarded_stream::{Guarded, GuardedStream};
pub use question::{ModelAnswer, ModelQuestion};
pub use request::ModelRequest;
pub use shown::Shown;
pub use usage::Meter;
