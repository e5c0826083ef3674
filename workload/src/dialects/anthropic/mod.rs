//! Anthropic's messages.

mod answer;
mod error;
mod headers;
mod models;
mod read_request;
mod write_answer;
mod write_request;

pub use answer::Reader;
pub use error::error_document;
pub use headers::{API_KEY, BETA, BETA_OF_TOKENS, USUAL_VERSION, VERSION};
pub use models::{list as model_list, model as model_document};
pub use read_request::read_request;
pub use write_answer::{Writer, whole_answer};
pub use write_request::{unsupported, write_request};

use super::StopReason;

/// Why an answer ends, by Anthropic's names.
const STOP_REASONS: [(&str, StopReason); 7] = [
    ("end_turn", StopReason::Done),
    ("stop_sequence", StopReason::StopText),
    ("max_tokens", StopReason::Length),
    ("tool_use", StopReason::Calls),
    ("refusal", StopReason::Filtered),
    // What is written is also read; what follows is read only.
    ("pause_turn", StopReason::Done),
    ("model_context_window_exceeded", StopReason::Length),
];
