//! How well requests were served since the process began: the operator judges new replicas by it that are tried out.

use codecrucible_contract::{SERVED_WITHIN_MILLISECONDS, Served};
use http::StatusCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts requests. What is read while some are counted may be of a moment before and after.
#[derive(Default)]
pub struct ServedRequests {
    requests: AtomicU64,
    failed: AtomicU64,
    within: [AtomicU64; SERVED_WITHIN_MILLISECONDS.len()],
}

impl ServedRequests {
    /// Counts one whose answer began after so long.
    pub fn note(&self, status: StatusCode, took: Duration) {
        if let Some(place) = Served::place(took.as_millis()) {
            self.within[place].fetch_add(1, Ordering::Relaxed);
        }
        if status.is_server_error() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// One that was counted, and whose answer broke later.
    pub fn broke(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// All that were counted.
    pub fn read(&self) -> Served {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (requests, failed) = (number(&self.requests), number(&self.failed));
        Served { requests, failed, within: self.within.iter().map(number).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_did_wrong_is_no_failure_of_the_service() {
        let served = ServedRequests::default();
        for (status, milliseconds) in [(200, 5), (404, 5), (429, 5), (502, 5), (504, 90_000)] {
            served.note(StatusCode::from_u16(status).unwrap(), Duration::from_millis(milliseconds));
        }
        served.broke();
        let served = served.read();
        assert_eq!((served.requests, served.failed, served.begun_within(60_000)), (5, 3, 4));
    }
}
