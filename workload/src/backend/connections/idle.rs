//! Connections that wait for another request: the one that was used last is used first, and what nobody uses for long is closed.

use super::connection::Connection;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Most that wait for one backend.
pub(super) const MAX_IDLE_CONNECTIONS: usize = 64;
/// How long one waits, seconds: below what common servers keep, so that we close first.
pub(super) const IDLE_CONNECTION_SECONDS: u64 = 4;

/// Those of one backend.
#[derive(Default)]
pub(super) struct Idle {
    waiting: Mutex<Waiting<Box<Connection>>>,
    freed: Notify,
}

/// What waits, in the order in which it began to.
struct Waiting<C> {
    /// Each with when it will have waited for too long.
    connections: VecDeque<(Instant, C)>,
    /// Whether somebody looks for those that have.
    is_swept: bool,
}

impl Idle {
    /// The one that was used last, if one waits.
    pub(super) fn take(&self) -> Option<Box<Connection>> {
        self.lock().take(Instant::now())
    }

    /// One more, unless it is old. Without a runtime it is closed.
    pub(super) fn put(self: &Arc<Self>, connection: Box<Connection>) {
        let Ok(runtime) = Handle::try_current() else { return };
        let now = Instant::now();
        if connection.is_old(now) {
            return close([connection]);
        }
        let mut waiting = self.lock();
        let superfluous = waiting.put(connection, now);
        let is_swept = std::mem::replace(&mut waiting.is_swept, true);
        drop(waiting);
        if !is_swept {
            runtime.spawn(sweep(Arc::downgrade(self)));
        }
        close(superfluous);
        self.freed.notify_one();
    }

    /// One, as soon as it becomes free.
    pub(super) async fn wait(&self) -> Box<Connection> {
        loop {
            let mut freed = pin!(self.freed.notified());
            // What becomes free from here on is told, and what was free before is there.
            freed.as_mut().enable();
            if let Some(connection) = self.take() {
                return connection;
            }
            freed.await;
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().connections.len()
    }

    /// Ends when the server is known to have closed the one that waits longest.
    #[cfg(test)]
    pub(super) async fn until_the_first_is_closed(&self) {
        while self.lock().connections.front_mut().is_some_and(|(_, connection)| connection.is_open()) {
            tokio::task::yield_now().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<Box<Connection>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let waiting = self.waiting.get_mut().unwrap_or_else(PoisonError::into_inner);
        close(waiting.connections.drain(..).map(|(_, connection)| connection));
    }
}

impl<C> Default for Waiting<C> {
    fn default() -> Self {
        Self { connections: VecDeque::new(), is_swept: false }
    }
}

impl<C> Waiting<C> {
    fn take(&mut self, now: Instant) -> Option<C> {
        // Where the last one has waited for too long, all have.
        self.connections.back().filter(|(until, _)| now < *until)?;
        self.connections.pop_back().map(|(_, connection)| connection)
    }

    /// Gives the one back that waits longest where there are too many.
    fn put(&mut self, connection: C, now: Instant) -> Option<C> {
        self.connections.push_back((now + Duration::from_secs(IDLE_CONNECTION_SECONDS), connection));
        let is_superfluous = self.connections.len() > MAX_IDLE_CONNECTIONS;
        let (_, superfluous) = is_superfluous.then(|| self.connections.pop_front()).flatten()?;
        Some(superfluous)
    }

    /// Those that have waited for too long, and when the next one will have. Where there is none, nobody looks any more.
    fn sweep(&mut self, now: Instant) -> (Vec<C>, Option<Instant>) {
        let count = self.connections.iter().take_while(|(until, _)| *until <= now).count();
        let old = self.connections.drain(..count).map(|(_, connection)| connection).collect();
        let next = self.connections.front().map(|(until, _)| *until);
        self.is_swept = next.is_some();
        (old, next)
    }
}

/// Closes what waits for too long, until nothing waits.
async fn sweep(idle: Weak<Idle>) {
    let mut next = Instant::now();
    while let Some(idle) = idle.upgrade() {
        let (old, later) = idle.lock().sweep(Instant::now());
        drop(idle);
        close(old);
        let Some(later) = later else { return };
        next = later.max(next);
        sleep_until(next).await;
    }
}

/// Takes leave of servers. Without a runtime they see for themselves.
fn close(connections: impl IntoIterator<Item = Box<Connection>>) {
    let Ok(runtime) = Handle::try_current() else { return };
    for connection in connections {
        runtime.spawn(connection.close());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64) -> Instant {
        static BEGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        *BEGIN + Duration::from_secs(seconds)
    }

    #[test]
    fn the_one_that_was_used_last_is_used_first() {
        let mut waiting = Waiting::default();
        assert_eq!((waiting.put("a", after(0)), waiting.put("b", after(1))), (None, None));
        let taken = [waiting.take(after(2)), waiting.take(after(2)), waiting.take(after(2))];
        assert_eq!(taken, [Some("b"), Some("a"), None]);
    }

    #[test]
    fn one_that_has_waited_for_too_long_is_not_used_but_swept() {
        let mut waiting = Waiting::default();
        waiting.put("a", after(0));
        waiting.put("b", after(2));
        assert_eq!(waiting.sweep(after(3)), (vec![], Some(after(4))));
        assert_eq!(waiting.sweep(after(4)), (vec!["a"], Some(after(6))));
        assert_eq!(waiting.take(after(6)), None);
        assert_eq!(waiting.sweep(after(6)), (vec!["b"], None));
    }

    #[test]
    fn of_too_many_the_one_goes_that_waits_longest() {
        let mut waiting = Waiting::default();
        for number in 0..MAX_IDLE_CONNECTIONS {
            assert_eq!(waiting.put(number, after(0)), None);
        }
        assert_eq!(waiting.put(MAX_IDLE_CONNECTIONS, after(1)), Some(0));
        assert_eq!(waiting.take(after(1)), Some(MAX_IDLE_CONNECTIONS));
    }
}
