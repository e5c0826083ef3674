//! Small language models on the CPU, in this process.
//!
//! One worker thread answers one request at a time from a bounded queue. It proves the path on a machine
//! that has nothing else, and serves as a last resort; it is not meant for production quality.

mod chat;
mod engine;
mod error;
mod gguf;
mod matrix;
mod model;
mod sampler;
mod stop;
mod threads;
mod tokenizer;
mod verify;
mod worker;

pub use chat::{Role, Turn};
pub use engine::{Engine, EngineConfig};
pub use error::{EngineError, LoadError, SubmitError};
pub use threads::prepare_process;
pub use worker::{Event, Finish, FinishReason, Generation};
