//! Counters that all replicas share, in Redis: one script, one round trip, from all counters or from none. While the store does not answer it is
//! not asked, so that requests wait for it no longer than once; it is tried again beside them.

use super::claims::{Settlement, Take};
use super::counting::{Rule, Standing};
use super::health::Health;
use codecrucible_contract::{Algorithm, Store};
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, IntoConnectionInfo as _, RedisError, RedisResult, Script, ScriptInvocation,
};
use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

/// How long a connection may take, with a first try of what it is for, milliseconds.
const CONNECT_MS: u64 = 2_000;
/// Longest pause between two tries to connect, milliseconds.
const LONGEST_PAUSE_MS: u64 = 500;

/// Pause between two looks whether it still answers, milliseconds.
const LOOK_EVERY_MS: u64 = 1_000;
/// What is counted to see that it does.
const PROBE_RULE: Rule = Rule { algorithm: Algorithm::FixedWindow, limit: 1, window_ms: 1_000, burst: 1 };

/// How the time is had: the store's own, so that replicas need not agree about it.
const CLOCK: &str = "local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
";
const COUNTING: &str = include_str!("counting.lua");

static TAKE: LazyLock<Script> = LazyLock::new(|| script(CLOCK, include_str!("take.lua")));
static SETTLE: LazyLock<Script> = LazyLock::new(|| script(CLOCK, include_str!("settle.lua")));

pub(super) fn script(clock: &str, what: &str) -> Script {
    Script::new(&[clock, COUNTING, what].concat())
}

/// Where the store is, and how it is entered. Without `Debug`: it holds a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// What the policy says.
    pub store: Store,
    /// The password, if there is one.
    pub password: Option<String>,
    /// What all keys of the service begin with.
    pub hash_tag: String,
}

/// What was found, and when that was by the store's clock, milliseconds since 1970.
pub(super) struct Taken {
    /// How each one stands.
    pub(super) standings: Vec<Standing>,
    /// When.
    pub(super) at_ms: u64,
}

/// The store does not answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoStore;

/// The store, as long as the policy names it.
pub(super) struct SharedCounters {
    settings: StoreSettings,
    asked: Arc<AskedStore>,
    _keeper: AbortOnDropHandle<()>,
}

/// What requests ask. Whoever still holds it when the policy names another store finds no connection soon.
pub(super) struct AskedStore {
    health: Health<Connection>,
    patience: Duration,
}

/// A connection, which many requests use at once.
#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl SharedCounters {
    /// Begins to connect; `tell` hears whether it is connected, and why not. Needs a runtime.
    pub(super) fn open(
        settings: StoreSettings,
        patience: Duration,
        tell: impl Fn(Result<(), &str>) + Send + Sync + 'static,
    ) -> Self {
        let asked = Arc::new(AskedStore { health: Health::default(), patience });
        let keeper =
            tokio::runtime::Handle::current().spawn(keep(settings.clone(), Arc::clone(&asked), tell));
        Self { settings, asked, _keeper: AbortOnDropHandle::new(keeper) }
    }

    /// What it was opened with.
    pub(super) fn settings(&self) -> &StoreSettings {
        &self.settings
    }

    /// What requests ask.
    pub(super) fn asked(&self) -> &Arc<AskedStore> {
        &self.asked
    }
}

impl AskedStore {
    /// Whether there is a connection.
    #[cfg(test)]
    pub(super) fn is_connected(&self) -> bool {
        self.health.connection().is_some()
    }

    /// Takes from all or from none.
    pub(super) async fn take(&self, takes: &[Take<'_>]) -> Result<Taken, NoStore> {
        let mut invocation = TAKE.prepare_invoke();
        for Take { key, rule, cost, is_shadow, limit: _ } in takes {
            add_rule(invocation.key(*key), rule).arg(*cost).arg(u8::from(*is_shadow));
        }
        let reply: Vec<u64> = self.ask(&invocation).await?;
        let Some((at_ms, standings)) = reply.split_first().filter(|(_, rest)| rest.len() == 3 * takes.len())
        else {
            return Err(NoStore);
        };
        let standing = |of: &[u64]| Standing { remaining: of[0], reset_ms: of[1], retry_ms: of[2] };
        Ok(Taken { standings: standings.chunks_exact(3).map(standing).collect(), at_ms: *at_ms })
    }

    /// Corrects what was taken at a time.
    pub(super) async fn settle(
        &self,
        taken_at_ms: u64,
        settlements: &[Settlement<'_>],
    ) -> Result<(), NoStore> {
        let mut invocation = SETTLE.prepare_invoke();
        for Settlement { key, rule, beyond, limit: _ } in settlements {
            add_rule(invocation.key(*key), rule).arg(taken_at_ms).arg(*beyond);
        }
        self.ask::<u64>(&invocation).await.map(|_| ())
    }

    /// Asks now and then, so that a loss is noticed where nobody else asks. Never ends.
    async fn look_after(&self, hash_tag: &str) -> Infallible {
        let key = probe_key(hash_tag);
        loop {
            sleep(Duration::from_millis(LOOK_EVERY_MS)).await;
            let mut invocation = TAKE.prepare_invoke();
            add_rule(invocation.key(&key), &PROBE_RULE).arg(0).arg(0);
            let _ = self.ask::<Vec<u64>>(&invocation).await;
        }
    }

    async fn ask<T: redis::FromRedisValue>(&self, invocation: &ScriptInvocation<'_>) -> Result<T, NoStore> {
        let connection = self.health.connection().ok_or(NoStore)?;
        match timeout(self.patience, invoke(&connection, invocation)).await {
            Ok(Ok(answer)) => {
                self.health.answered();
                Ok(answer)
            }
            Ok(Err(error)) if !error.is_timeout() => {
                self.health.lost(&connection, &error.to_string());
                Err(NoStore)
            }
            _ => {
                self.health.late(&connection);
                Err(NoStore)
            }
        }
    }
}

pub(super) fn add_rule<'a, 'b>(
    invocation: &'a mut ScriptInvocation<'b>,
    rule: &Rule,
) -> &'a mut ScriptInvocation<'b> {
    let algorithm = match rule.algorithm {
        Algorithm::TokenBucket => 1,
        Algorithm::SlidingWindow => 2,
        Algorithm::FixedWindow => 3,
    };
    invocation.arg(algorithm).arg(rule.limit).arg(rule.window_ms).arg(rule.burst)
}

async fn invoke<T: redis::FromRedisValue>(
    connection: &Connection,
    invocation: &ScriptInvocation<'_>,
) -> RedisResult<T> {
    match connection.clone() {
        Connection::Single(mut connection) => invocation.invoke_async(&mut connection).await,
        Connection::Cluster(mut connection) => invocation.invoke_async(&mut connection).await,
    }
}

/// Connects whenever there is no connection.
async fn keep(settings: StoreSettings, asked: Arc<AskedStore>, tell: impl Fn(Result<(), &str>)) {
    loop {
        match timeout(Duration::from_millis(CONNECT_MS), connect(&settings)).await {
            Ok(Ok(connection)) => {
                let why = tokio::select! {
                    why = asked.health.hold(connection, || tell(Ok(()))) => why,
                    never = asked.look_after(&settings.hash_tag) => match never {},
                };
                tell(Err(&why));
            }
            Ok(Err(error)) => tell(Err(&error.to_string())),
            Err(_elapsed) => tell(Err("it does not answer")),
        }
        sleep(Duration::from_millis(fastrand::u64(LONGEST_PAUSE_MS / 2..=LONGEST_PAUSE_MS))).await;
    }
}

/// A connection over which a counter was written: one that may only read, or is full, is none.
async fn connect(settings: &StoreSettings) -> RedisResult<Connection> {
    let StoreSettings { store, password, .. } = settings;
    let mut info = store.url.as_str().into_connection_info()?;
    let mut entry = info.redis_settings().clone();
    if let Some(username) = &store.username {
        entry = entry.set_username(username);
    }
    if let Some(password) = password {
        entry = entry.set_password(password);
    }
    info = info.set_redis_settings(entry);
    let (connection_timeout, response_timeout) =
        (Duration::from_millis(CONNECT_MS), Duration::from_millis(CONNECT_MS));
    let connection = if store.is_cluster {
        let client = ClusterClientBuilder::new([info])
            .connection_timeout(connection_timeout)
            .response_timeout(response_timeout)
            .retries(1)
            .build()?;
        Connection::Cluster(client.get_async_connection().await?)
    } else {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(connection_timeout))
            .set_response_timeout(Some(response_timeout));
        let client = redis::Client::open(info)?;
        Connection::Single(client.get_multiplexed_async_connection_with_config(&config).await?)
    };
    probe(&connection, &settings.hash_tag).await?;
    Ok(connection)
}

/// Counts nothing, under a key of the service.
async fn probe(connection: &Connection, hash_tag: &str) -> Result<(), RedisError> {
    for script in [&SETTLE, &TAKE] {
        let mut invocation = script.prepare_invoke();
        add_rule(invocation.key(probe_key(hash_tag)), &PROBE_RULE).arg(0).arg(0);
        invoke::<redis::Value>(connection, &invocation).await?;
    }
    Ok(())
}

fn probe_key(hash_tag: &str) -> String {
    format!("{hash_tag}:probe")
}
