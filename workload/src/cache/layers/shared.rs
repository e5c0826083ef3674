//! Answers in a Redis that all replicas share. One that does not answer is not asked: requests go on without it, and it is tried again beside them.

use super::super::key::Key;
use super::Unanswered;
use crate::store::{Connection, Health, Kept, StoreSettings, connect, keep_connected};
use bytes::Bytes;
use redis::{Cmd, FromRedisValue, cmd};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

/// How long a request waits for an answer, milliseconds.
const PATIENCE_MS: u64 = 25;
/// How long it may take to write one, which nobody waits for, milliseconds.
const LONG_PATIENCE_MS: u64 = 2_000;
/// Pause between two looks whether it still answers, milliseconds.
const LOOK_EVERY_MS: u64 = 1_000;
/// Longest answer that is kept there, bytes: others wait behind it, in the same connection.
const MAX_SHARED_BYTES: usize = 512 * 1024;
/// What may be on its way there, KiB. What is more than that is not kept.
const MAX_WAITING_KB: usize = 32 * 1024;
/// For how long what is written to see whether that can be done stays, milliseconds.
const PROBE_MS: u64 = 1_000;

pub(in super::super) struct Shared {
    settings: StoreSettings,
    asked: Arc<Asked>,
    _keeper: AbortOnDropHandle<Infallible>,
}

struct Asked {
    health: Health<Connection>,
    waiting: Arc<Semaphore>,
}

impl Shared {
    /// Begins to connect; `tell` hears whether it is connected, and why not, whenever that changes. Needs a runtime.
    pub(in super::super) fn open(
        settings: StoreSettings,
        tell: impl Fn(Result<(), &str>) + Send + Sync + 'static,
    ) -> Self {
        let waiting = Arc::new(Semaphore::new(MAX_WAITING_KB));
        let asked = Arc::new(Asked { health: Health::default(), waiting });
        let keeper = Keeper { settings: settings.clone(), asked: Arc::clone(&asked), tell };
        let keeping = tokio::spawn(async move { keep_connected(&keeper).await });
        Self { settings, asked, _keeper: AbortOnDropHandle::new(keeping) }
    }

    pub(in super::super) fn settings(&self) -> &StoreSettings {
        &self.settings
    }

    pub(in super::super) fn is_connected(&self) -> bool {
        self.asked.health.connection().is_some()
    }

    pub(in super::super) async fn connected(&self) {
        self.asked.health.connected().await;
    }

    pub(in super::super) async fn get(&self, key: &Key) -> Result<Option<Bytes>, Unanswered> {
        let connection = self.asked.health.connection().ok_or(Unanswered)?;
        let mut command = cmd("GETRANGE");
        // One byte more than an answer has: what is not one of ours may be long.
        command.arg(self.place(key)).arg(0).arg(MAX_SHARED_BYTES);
        let found: Vec<u8> = self.asked.ask(&connection, &command).await?;
        Ok(Some(Bytes::from(found)).filter(|found| (1..=MAX_SHARED_BYTES).contains(&found.len())))
    }

    /// Sends it there, for so long, and tells whether it came. Needs a runtime.
    pub(in super::super) fn put(
        &self,
        key: &Key,
        bytes: Bytes,
        good_for: Duration,
        tell: impl FnOnce(bool) + Send + 'static,
    ) {
        if bytes.len() > MAX_SHARED_BYTES {
            return tell(false);
        }
        let size = u32::try_from(bytes.len().div_ceil(1024)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.asked.waiting).try_acquire_many_owned(size);
        let milliseconds = u64::try_from(good_for.as_millis()).unwrap_or(u64::MAX);
        let (Some(connection), Ok(room), 1..) = (self.asked.health.connection(), room, milliseconds) else {
            return tell(false);
        };
        let mut command = cmd("SET");
        command.arg(self.place(key)).arg(&*bytes).arg("PX").arg(milliseconds);
        tokio::spawn(async move {
            let written = timeout(Duration::from_millis(LONG_PATIENCE_MS), connection.run::<()>(&command));
            tell(matches!(written.await, Ok(Ok(()))));
            drop(room);
        });
    }

    fn place(&self, key: &Key) -> String {
        let prefix = &self.settings.prefix;
        let mut place = String::with_capacity(prefix.len() + ":answer:".len() + 2 * key.len());
        let _ = write!(place, "{prefix}:answer:");
        key.iter().for_each(|byte| {
            let _ = write!(place, "{byte:02x}");
        });
        place
    }
}

impl Asked {
    async fn ask<T: FromRedisValue>(
        &self,
        connection: &Arc<Connection>,
        command: &Cmd,
    ) -> Result<T, Unanswered> {
        match timeout(Duration::from_millis(PATIENCE_MS), connection.run(command)).await {
            Ok(Ok(found)) => {
                self.health.answered();
                Ok(found)
            }
            // What it says itself, of this question.
            Ok(Err(error)) if error.code().is_some() => Err(Unanswered),
            Ok(Err(error)) => {
                self.health.lost(connection, &error.to_string());
                Err(Unanswered)
            }
            Err(_elapsed) => {
                self.health.was_late(connection, Instant::now());
                Err(Unanswered)
            }
        }
    }
}

/// What keeps the store connected.
struct Keeper<T> {
    settings: StoreSettings,
    asked: Arc<Asked>,
    tell: T,
}

impl<T> Keeper<T> {
    /// Writes something: a connection over which that cannot be done, because it may only read or is full, is none.
    async fn probe(&self, connection: &Connection) -> Result<(), String> {
        let mut command = cmd("SET");
        command.arg(format!("{}:probe", self.settings.prefix)).arg("").arg("PX").arg(PROBE_MS);
        let written = timeout(Duration::from_millis(LONG_PATIENCE_MS), connection.run::<()>(&command)).await;
        written.map_err(|_elapsed| "it answers too late")?.map_err(|error| error.to_string())
    }
}

impl<T: Fn(Result<(), &str>) + Sync> Kept for Keeper<T> {
    type Connection = Connection;

    fn health(&self) -> &Health<Connection> {
        &self.asked.health
    }

    async fn connect(&self) -> Result<Connection, String> {
        let connection = connect(&self.settings).await?;
        self.probe(&connection).await?;
        Ok(connection)
    }

    /// Writes now and then, so that a loss is noticed where nobody asks.
    async fn look_after(&self) -> Infallible {
        loop {
            sleep(Duration::from_millis(LOOK_EVERY_MS)).await;
            let Some(connection) = self.asked.health.connection() else { continue };
            match self.probe(&connection).await {
                Ok(()) => self.asked.health.answered(),
                Err(why) => self.asked.health.lost(&connection, &why),
            }
        }
    }

    fn tell(&self, outcome: Result<(), &str>) {
        (self.tell)(outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::redis_server::RedisServer;
    use codecrucible_contract::Store;
    use tokio::sync::watch;

    const KEY: Key = [7; 32];
    const MINUTE: Duration = Duration::from_secs(60);

    /// A replica, and whether it is connected.
    struct Replica {
        shared: Shared,
        is_connected: watch::Receiver<bool>,
    }

    impl Replica {
        fn of(server: &RedisServer, prefix: &str) -> Self {
            let store = Store { url: server.url(), username: None, has_credential: false, is_cluster: false };
            let settings = StoreSettings { store, password: None, prefix: prefix.into() };
            let (connected, is_connected) = watch::channel(false);
            let shared = Shared::open(settings, move |outcome| {
                connected.send_replace(outcome.is_ok());
            });
            Self { shared, is_connected }
        }

        async fn until(&mut self, is_connected: bool) {
            self.is_connected.wait_for(|is| *is == is_connected).await.unwrap();
        }

        async fn put(&self, text: &'static str, good_for: Duration) -> bool {
            let (tell, told) = tokio::sync::oneshot::channel();
            self.shared.put(&KEY, Bytes::from(text), good_for, |is_kept| tell.send(is_kept).unwrap());
            told.await.unwrap()
        }

        async fn get(&self) -> Result<Option<String>, Unanswered> {
            let found = self.shared.get(&KEY).await?;
            Ok(found.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()))
        }
    }

    #[tokio::test]
    async fn what_one_replica_keeps_another_one_finds_and_no_other_service() {
        let server = RedisServer::start(&[]);
        let (mut one, mut other) = (Replica::of(&server, "a"), Replica::of(&server, "a"));
        let mut stranger = Replica::of(&server, "b");
        for replica in [&mut one, &mut other, &mut stranger] {
            replica.until(true).await;
        }
        assert_eq!(other.get().await, Ok(None));
        assert!(one.put("text", MINUTE).await);
        assert_eq!(other.get().await, Ok(Some("text".to_owned())));
        assert_eq!(stranger.get().await, Ok(None));
    }

    #[tokio::test]
    async fn a_store_that_is_gone_is_not_asked_and_is_found_again() {
        let mut server = RedisServer::start(&[]);
        let mut replica = Replica::of(&server, "a");
        replica.until(true).await;
        server.kill();
        replica.until(false).await;
        assert_eq!(replica.get().await, Err(Unanswered));
        assert!(!replica.put("text", MINUTE).await);
        server.start_anew();
        replica.until(true).await;
        assert_eq!(replica.get().await, Ok(None));
        assert!(replica.put("text", MINUTE).await);
    }

    #[tokio::test]
    async fn a_store_that_is_silent_is_left_until_it_speaks() {
        let server = RedisServer::start(&[]);
        let mut replica = Replica::of(&server, "a");
        replica.until(true).await;
        server.pause();
        assert_eq!(replica.get().await, Err(Unanswered));
        replica.until(false).await;
        server.go_on();
        replica.until(true).await;
        assert_eq!(replica.get().await, Ok(None));
    }

    #[tokio::test]
    async fn a_store_that_is_full_and_forgets_nothing_is_none() {
        let server = RedisServer::start(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
        let mut told = Replica::of(&server, "a");
        let (tell, heard) = watch::channel(String::new());
        let _shared = Shared::open(told.shared.settings().clone(), move |outcome| {
            tell.send_replace(outcome.err().unwrap_or_default().to_owned());
        });
        let mut heard = heard;
        let why = heard.wait_for(|why| !why.is_empty()).await.unwrap().clone();
        assert!(why.contains("OOM"), "{why}");
        told.until(false).await;
    }

    #[tokio::test]
    async fn a_store_that_may_only_read_from_now_on_is_none() {
        let server = RedisServer::start(&[]);
        let mut replica = Replica::of(&server, "a");
        replica.until(true).await;
        let connection = replica.shared.asked.health.connection().unwrap();
        connection.run::<()>(cmd("REPLICAOF").arg("127.0.0.1").arg(1)).await.unwrap();
        replica.until(false).await;
    }

    #[tokio::test]
    async fn what_is_no_answer_there_is_none() {
        let server = RedisServer::start(&[]);
        let mut replica = Replica::of(&server, "a");
        replica.until(true).await;
        let connection = replica.shared.asked.health.connection().unwrap();
        let place = replica.shared.place(&KEY);
        connection.run::<()>(cmd("SETRANGE").arg(&place).arg(MAX_SHARED_BYTES * 2).arg("x")).await.unwrap();
        assert_eq!(replica.get().await, Ok(None));
        connection.run::<()>(cmd("DEL").arg(&place)).await.unwrap();
        connection.run::<()>(cmd("LPUSH").arg(&place).arg("x")).await.unwrap();
        assert_eq!(replica.get().await, Err(Unanswered));
        assert!(*replica.is_connected.borrow(), "it is an answer of that key alone");
    }
}
