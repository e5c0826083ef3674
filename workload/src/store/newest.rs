//! Which of the stores that followed one another is the newest: one that was replaced lives on as long as somebody uses it, and is not told of any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many there were.
#[derive(Default)]
pub(crate) struct Newest(Arc<AtomicU64>);

impl Newest {
    /// One more. What is given says whether it still is the newest.
    pub(crate) fn next(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        let (count, own) = (Arc::clone(&self.0), self.0.fetch_add(1, Ordering::Relaxed) + 1);
        move || count.load(Ordering::Relaxed) == own
    }
}
