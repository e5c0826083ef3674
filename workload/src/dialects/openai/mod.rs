//! OpenAI's chat completions.

mod answer;
mod read_request;
mod write_answer;
mod write_request;

pub use answer::Reader;
pub use read_request::read_request;
pub use write_answer::{Writer, whole_answer};
pub use write_request::write_request;
