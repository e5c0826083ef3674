//! Several voices answer one task in parallel; evidence decides between them.

mod candidate;
mod code;
mod evidence;
mod request;
mod run;
mod syntax;
mod unparsable;

pub use candidate::{Candidate, Outcome, Synthesis};
pub use evidence::{Part, Score};
pub use request::{Plan, SynthesisRequest};
pub use run::{Asked, Progress, run};
pub use syntax::Language;
pub use unparsable::is_unparsable;
