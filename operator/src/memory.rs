//! Gives memory back to the system that bursts of work leave behind: all resources at once, as at the start, take many times what is kept
//! of them, and the allocator keeps what lies between.

use std::convert::Infallible;
use std::time::Duration;
use tokio::time::interval;

/// Time from one time to the next, seconds.
const PAUSE_SECONDS: u64 = 10;

/// Does so again and again.
pub(crate) async fn give_back() -> Infallible {
    let mut due = interval(Duration::from_secs(PAUSE_SECONDS));
    loop {
        due.tick().await;
        trim();
    }
}

#[cfg(target_env = "gnu")]
#[allow(
    unsafe_code,
    reason = "a function of the C library that nothing wraps; it takes no pointer, and the allocator locks"
)]
fn trim() {
    // SAFETY: may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Others keep no free pages in between.
#[cfg(not(target_env = "gnu"))]
const fn trim() {}
