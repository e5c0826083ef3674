//! Nothing is written by a process that may lead no longer. A process that was held up, by a debugger or a machine
//! without processor time, goes on in the middle of its work before it can find out that another one leads: so each
//! write is looked at right before it is sent.

use http::{Method, Request};
use kube::client::Body;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;
use tower::BoxError;

/// Where leases are: a process that does not lead may ask for one.
const LEASES: &str = "/apis/coordination.k8s.io/";

/// Lets writes pass for as long as this process is known to lead. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fence {
    start: Instant,
    /// Until when, milliseconds after the start.
    open_ms: Arc<AtomicU64>,
}

/// A write that was not sent.
#[derive(Debug, thiserror::Error)]
#[error("this process does not lead any more; nothing is written")]
struct Closed;

impl Fence {
    /// One that lets no write pass yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { start: now, open_ms: Arc::default() }
    }

    pub(super) fn open_until(&self, until: Instant) {
        let open_ms = u64::try_from((until - self.start).as_millis()).unwrap_or(u64::MAX);
        self.open_ms.store(open_ms, Ordering::Relaxed);
    }

    /// Looks at a request that is about to be sent.
    pub(crate) fn check(&self, request: Request<Body>) -> Result<Request<Body>, BoxError> {
        let (method, path) = (request.method(), request.uri().path());
        if self.lets_pass(method, path, Instant::now()) { Ok(request) } else { Err(Closed.into()) }
    }

    fn lets_pass(&self, method: &Method, path: &str, now: Instant) -> bool {
        let is_open = (now - self.start).as_millis() < u128::from(self.open_ms.load(Ordering::Relaxed));
        is_open || method == Method::GET || path.starts_with(LEASES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn writes_pass_only_while_the_process_is_known_to_lead() {
        let start = Instant::now();
        let fence = Fence::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        let lets_pass = |method, path, seconds| fence.lets_pass(&method, path, at(seconds));
        assert!(!lets_pass(Method::PATCH, "/api/v1/namespaces/a/secrets/s", 0));
        fence.open_until(at(10));
        assert!(lets_pass(Method::PATCH, "/api/v1/namespaces/a/secrets/s", 9));
        assert!(!lets_pass(Method::PATCH, "/api/v1/namespaces/a/secrets/s", 10));
        assert!(lets_pass(Method::GET, "/api/v1/namespaces/a/secrets/s", 10));
        assert!(lets_pass(Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/a/leases/l", 10));
    }
}
