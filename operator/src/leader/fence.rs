//! Nothing is sent by a process that may lead no longer. A process that was held up, by a debugger or a machine without
//! processor time, goes on in the middle of its work before it can find out that another one leads: with a request that is
//! written by half, or waits for its connection. So each connection to the API server looks at the clock whenever it is
//! about to do something, and ends when the time is over.

use futures::future::poll_fn;
use hyper::rt::Executor;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use tokio::time::Instant;

/// What drives a connection.
type Connection = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Lets connections live until a process has led, and then for as long as it is known to lead. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fence {
    start: Instant,
    /// Until when, milliseconds after the start; 0 before it has led.
    open_ms: Arc<AtomicU64>,
}

impl Fence {
    /// One of a process that has not led yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { start: now, open_ms: Arc::default() }
    }

    pub(super) fn open_until(&self, until: Instant) {
        let open_ms = u64::try_from((until - self.start).as_millis()).unwrap_or(u64::MAX);
        self.open_ms.store(open_ms, Ordering::Relaxed);
    }

    fn is_closed(&self, now: Instant) -> bool {
        let open_ms = self.open_ms.load(Ordering::Relaxed);
        open_ms > 0 && (now - self.start).as_millis() >= u128::from(open_ms)
    }
}

impl Executor<Connection> for Fence {
    fn execute(&self, mut connection: Connection) {
        let fence = self.clone();
        tokio::spawn(poll_fn(move |context| {
            // Between this and what is sent there is nothing to wait for.
            if fence.is_closed(Instant::now()) { Poll::Ready(()) } else { connection.as_mut().poll(context) }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::sync::oneshot;

    #[test]
    fn it_closes_when_the_process_is_no_longer_known_to_lead() {
        let start = Instant::now();
        let fence = Fence::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!fence.is_closed(at(100)), "it has not led yet");
        fence.open_until(at(10));
        assert!(!fence.is_closed(at(9)) && fence.is_closed(at(10)));
        fence.open_until(at(20));
        assert!(!fence.is_closed(at(10)), "it was renewed");
    }

    #[tokio::test]
    async fn a_connection_that_wakes_up_too_late_sends_nothing() {
        let fence = Fence::new(Instant::now() - Duration::from_secs(10));
        fence.open_until(Instant::now() - Duration::from_secs(1));
        let (sent, seen) = oneshot::channel();
        fence.execute(Box::pin(async {
            let _ = sent.send(());
        }));
        assert!(seen.await.is_err());
    }
}
