//! Why an answer that had begun is not whole: noted by what passes it on, for who tells of the request.

use std::sync::{Arc, OnceLock};

/// Where that is noted. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct TroubleNote(Arc<OnceLock<&'static str>>);

impl TroubleNote {
    /// Notes it; what came first stays.
    pub fn set(&self, reason: &'static str) {
        let _ = self.0.set(reason);
    }

    /// What was noted.
    pub fn get(&self) -> Option<&'static str> {
        self.0.get().copied()
    }
}
