//! A client that never stops asking, to see whether a change is felt.

use crate::support::{Namespace, eventually};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Pause between two requests, milliseconds.
const PAUSE_MS: u64 = 20;

/// What is asked for.
const KEYS: &str = "/.well-known/jwks.json";

/// What a client saw.
#[derive(Debug)]
pub struct Seen {
    pub requests: usize,
    /// What went wrong.
    pub failures: Vec<String>,
}

/// Asks a service for its keys, again and again on a new connection, while something else happens.
pub fn while_asking(namespace: &Namespace<'_>, service: &str, happens: impl FnOnce()) -> Seen {
    while_asked_by(1, Duration::from_millis(PAUSE_MS), namespace, service, happens)
}

/// The same by several clients, each with a pause of its own between two requests.
pub fn while_asked_by(
    clients: usize,
    pause: Duration,
    namespace: &Namespace<'_>,
    service: &str,
    happens: impl FnOnce(),
) -> Seen {
    let address =
        namespace.kubectl(&["get", "service", service, "-o", "jsonpath={.spec.clusterIP}"]).unwrap();
    let address = SocketAddr::new(address.parse().unwrap(), 8080);
    // The node learns of a service a little later than its status does.
    eventually("the service is reached", || namespace.cluster.get_inside(address, KEYS).is_ok());
    let is_over = AtomicBool::new(false);
    let ask_until_over = || {
        let mut seen = Seen { requests: 0, failures: Vec::new() };
        while !is_over.load(Ordering::Relaxed) {
            let answer = namespace.cluster.get_inside(address, KEYS);
            seen.requests += 1;
            seen.failures.extend(answer.err().map(|error| error.to_string()));
            thread::sleep(pause);
        }
        seen
    };
    let seen = thread::scope(|scope| {
        let asking: Vec<_> = (0..clients).map(|_| scope.spawn(ask_until_over)).collect();
        let happened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(happens));
        is_over.store(true, Ordering::Relaxed);
        let seen = asking.into_iter().map(|asking| asking.join().unwrap()).reduce(|mut all, one| {
            all.requests += one.requests;
            all.failures.extend(one.failures);
            all
        });
        happened.map(|()| seen.unwrap())
    });
    let seen = seen.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    println!("{} requests, {} failures", seen.requests, seen.failures.len());
    assert!(seen.requests > 10, "{seen:?}");
    seen
}
