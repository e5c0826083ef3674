//! Connects to a store whenever there is no connection, and tells of every change once.

use super::health::Health;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Longest pause between two tries to connect, milliseconds.
const LONGEST_PAUSE_MS: u64 = 500;
/// A connection that lasted shorter is not replaced at once, milliseconds.
const LASTED_MS: u64 = 5_000;
/// Longest reason that is told, characters.
const MAX_REASON_CHARACTERS: usize = 200;

/// A store that is kept connected.
pub(crate) trait Kept: Sync {
    /// How it is spoken with.
    type Connection: Send + Sync;

    /// Whether it answers.
    fn health(&self) -> &Health<Self::Connection>;

    /// Connects, or says why not.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, String>> + Send;

    /// Looks after the connection while there is one.
    fn look_after(&self) -> impl Future<Output = Infallible> + Send;

    /// It is connected, or why it is not.
    fn tell(&self, outcome: Result<(), &str>);
}

/// Never ends.
pub(crate) async fn keep_connected<K: Kept>(kept: &K) -> Infallible {
    let told = Mutex::new(None);
    let last_told = || told.lock().unwrap_or_else(PoisonError::into_inner);
    let tell_why = |why: &str| {
        let why: String = why.chars().take(MAX_REASON_CHARACTERS).collect();
        let before = last_told().replace(why.clone());
        if before.as_ref() != Some(&why) {
            kept.tell(Err(&why));
        }
    };
    let tell_connected = || {
        *last_told() = None;
        kept.tell(Ok(()));
    };
    loop {
        let begin = Instant::now();
        match kept.connect().await {
            Ok(connection) => {
                let why = tokio::select! {
                    why = kept.health().hold(connection, tell_connected) => why,
                    never = kept.look_after() => match never {},
                };
                tell_why(&why);
            }
            Err(why) => tell_why(&why),
        }
        // After a connection that lasted it may have been that alone.
        if begin.elapsed() < Duration::from_millis(LASTED_MS) {
            sleep(Duration::from_millis(fastrand::u64(LONGEST_PAUSE_MS / 2..=LONGEST_PAUSE_MS))).await;
        }
    }
}
