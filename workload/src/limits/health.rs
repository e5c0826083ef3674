//! Whether there is a connection to the store, and when one counts as lost: at once when it says so, or when several answers in a row are late.

use arc_swap::ArcSwapOption;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Answers in a row that may be late: one late answer is a hiccup, of the store or of this process.
const LATE_IN_A_ROW: u32 = 3;

/// The connection that requests use, if there is one.
pub(super) struct Health<C> {
    connection: ArcSwapOption<C>,
    late: AtomicU32,
    /// Why it was lost.
    why: Mutex<String>,
    is_connected: watch::Sender<bool>,
}

impl<C> Default for Health<C> {
    fn default() -> Self {
        Self {
            connection: ArcSwapOption::empty(),
            late: AtomicU32::new(0),
            why: Mutex::default(),
            is_connected: watch::Sender::new(false),
        }
    }
}

impl<C> Health<C> {
    /// The connection.
    pub(super) fn connection(&self) -> Option<Arc<C>> {
        self.connection.load_full()
    }

    /// Offers a connection until it is lost, and tells why it was.
    pub(super) async fn hold(&self, connection: C, tell: impl FnOnce()) -> String {
        self.late.store(0, Ordering::Relaxed);
        self.connection.store(Some(Arc::new(connection)));
        self.is_connected.send_replace(true);
        tell();
        // Whoever lost it meanwhile said so too early to be heard.
        if self.connection.load().is_none() {
            self.is_connected.send_replace(false);
        }
        // It cannot fail: the sender is ours.
        let _ = self.is_connected.subscribe().wait_for(|is_connected| !is_connected).await;
        std::mem::take(&mut *self.why.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An answer came in time.
    pub(super) fn answered(&self) {
        // Nearly always it is zero already, and a line of memory that all processors read.
        if self.late.load(Ordering::Relaxed) != 0 {
            self.late.store(0, Ordering::Relaxed);
        }
    }

    /// An answer did not come in time.
    pub(super) fn late(&self, connection: &Arc<C>) {
        if self.late.fetch_add(1, Ordering::Relaxed) + 1 >= LATE_IN_A_ROW {
            self.lost(connection, "its answers are late");
        }
    }

    /// A connection is of no use any more, if it still is the one that is offered.
    pub(super) fn lost(&self, connection: &Arc<C>, why: &str) {
        let before = self.connection.compare_and_swap(connection, None);
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, connection)) {
            why.clone_into(&mut self.why.lock().unwrap_or_else(PoisonError::into_inner));
            self.is_connected.send_replace(false);
        }
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
    async fn several_late_answers_in_a_row_end_a_connection_and_single_ones_do_not() {
        let health = Arc::new(Health::default());
        let task = holding(&health, 1).await;
        let connection = health.connection().unwrap();
        for _ in 0..10 {
            health.late(&connection);
            health.late(&connection);
            health.answered();
        }
        assert!(health.connection().is_some());
        (0..LATE_IN_A_ROW).for_each(|_| health.late(&connection));
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
        (0..LATE_IN_A_ROW).for_each(|_| health.late(&old));
        assert_eq!(health.connection().as_deref(), Some(&2));
    }
}
