//! Whether there is a connection to the store, and when one counts as lost: at once when it says so, or when it was silent for a while. A single
//! late answer is a hiccup, of the store or of this process, and so are several that were asked for at once.

use arc_swap::ArcSwapOption;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long answers may all be late, milliseconds.
const SILENCE_MS: u64 = 200;

/// The connection that requests use, if there is one.
pub(crate) struct Health<C> {
    connection: ArcSwapOption<C>,
    late: Mutex<Late>,
    is_connected: watch::Sender<bool>,
}

#[derive(Default)]
struct Late {
    /// When the first of those answers was late after which none came in time.
    since: Option<Instant>,
    /// Why the connection was lost.
    why: String,
}

impl<C> Default for Health<C> {
    fn default() -> Self {
        Self {
            connection: ArcSwapOption::empty(),
            late: Mutex::default(),
            is_connected: watch::Sender::new(false),
        }
    }
}

impl<C> Health<C> {
    /// The connection.
    pub(crate) fn connection(&self) -> Option<Arc<C>> {
        self.connection.load_full()
    }

    /// Waits for a connection.
    pub(crate) async fn connected(&self) {
        // It cannot fail: the sender is ours.
        let _ = self.is_connected.subscribe().wait_for(|is_connected| *is_connected).await;
    }

    /// Offers a connection until it is lost, and tells why it was.
    pub(crate) async fn hold(&self, connection: C, tell: impl FnOnce()) -> String {
        self.late().since = None;
        self.connection.store(Some(Arc::new(connection)));
        self.is_connected.send_replace(true);
        tell();
        // Whoever lost it meanwhile said so too early to be heard.
        if self.connection.load().is_none() {
            self.is_connected.send_replace(false);
        }
        // It cannot fail: the sender is ours.
        let _ = self.is_connected.subscribe().wait_for(|is_connected| !is_connected).await;
        std::mem::take(&mut self.late().why)
    }

    /// An answer came in time.
    pub(crate) fn answered(&self) {
        self.late().since = None;
    }

    /// An answer did not come in time.
    pub(crate) fn was_late(&self, connection: &Arc<C>, now: Instant) {
        let since = *self.late().since.get_or_insert(now);
        if now.duration_since(since) >= Duration::from_millis(SILENCE_MS) {
            self.lost(connection, "its answers are late");
        }
    }

    /// A connection is of no use any more, if it still is the one that is offered.
    pub(crate) fn lost(&self, connection: &Arc<C>, why: &str) {
        let before = self.connection.compare_and_swap(connection, None);
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, connection)) {
            why.clone_into(&mut self.late().why);
            self.is_connected.send_replace(false);
        }
    }

    fn late(&self) -> std::sync::MutexGuard<'_, Late> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn holding(health: &Arc<Health<u8>>, connection: u8) -> tokio::task::JoinHandle<String> {
        let held = Arc::clone(health);
        let (tell, told) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move { held.hold(connection, || tell.send(()).unwrap()).await });
        told.await.unwrap();
        task
    }

    #[tokio::test]
    async fn a_silence_ends_a_connection_and_a_hiccup_does_not() {
        let health = Arc::new(Health::default());
        let task = holding(&health, 1).await;
        let (connection, begin) = (health.connection().unwrap(), Instant::now());
        let at = |ms| begin + Duration::from_millis(ms);
        (0..100).for_each(|_| health.was_late(&connection, begin));
        health.was_late(&connection, at(SILENCE_MS - 1));
        health.answered();
        health.was_late(&connection, at(SILENCE_MS));
        health.was_late(&connection, at(2 * SILENCE_MS - 1));
        assert!(health.connection().is_some());
        health.was_late(&connection, at(2 * SILENCE_MS));
        assert_eq!(health.connection(), None);
        assert_eq!(task.await.unwrap(), "its answers are late");
    }

    #[tokio::test]
    async fn who_still_has_an_old_connection_does_not_end_the_new_one() {
        let health = Arc::new(Health::default());
        let task = holding(&health, 1).await;
        let old = health.connection().unwrap();
        health.lost(&old, "broken pipe");
        assert_eq!(task.await.unwrap(), "broken pipe");
        let _task = holding(&health, 2).await;
        health.lost(&old, "broken pipe");
        assert_eq!(health.connection().as_deref(), Some(&2));
    }
}
