//! OpenAI's responses, for clients whose model is at a backend that knows chats only. Nothing is kept of one that another could refer to.

mod items;
mod read_request;
mod write_answer;

pub use read_request::read_request;
pub use write_answer::{Writer, whole_answer};
