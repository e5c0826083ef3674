//! A connection to the store, to one server or to a cluster, which many requests use at once.

use codecrucible_contract::Store;
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, FromRedisValue, IntoConnectionInfo as _, RedisResult,
    ScriptInvocation,
};
use std::time::Duration;
use tokio::time::timeout;

/// How long it may take until a connection stands, milliseconds.
const CONNECT_MS: u64 = 3_000;
/// How long one node of a cluster may take, milliseconds: one that is gone keeps nobody from the others.
const NODE_MS: u64 = 500;
/// How long any answer may take, milliseconds; who asks is less patient.
const ANSWER_MS: u64 = 2_000;

/// Where the store is, and how it is entered. Without `Debug`: it holds a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// What the policy says.
    pub store: Store,
    /// The password, if there is one.
    pub password: Option<String>,
    /// What all keys of the service begin with.
    pub prefix: String,
}

impl StoreSettings {
    /// Whether it is the same store, however it is entered.
    pub(crate) fn is_same_store(&self, other: &Self) -> bool {
        let place = |settings: &Self| {
            (settings.store.url.clone(), settings.store.is_cluster, settings.prefix.clone())
        };
        place(self) == place(other)
    }
}

#[derive(Clone)]
pub(crate) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    /// Runs a command.
    pub(crate) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        match self.clone() {
            Self::Single(mut connection) => command.query_async(&mut connection).await,
            Self::Cluster(mut connection) => command.query_async(&mut connection).await,
        }
    }

    /// Runs a script.
    pub(crate) async fn invoke<T: FromRedisValue>(
        &self,
        invocation: &ScriptInvocation<'_>,
    ) -> RedisResult<T> {
        match self.clone() {
            Self::Single(mut connection) => invocation.invoke_async(&mut connection).await,
            Self::Cluster(mut connection) => invocation.invoke_async(&mut connection).await,
        }
    }
}

/// Connects, or says why not.
pub(crate) async fn connect(settings: &StoreSettings) -> Result<Connection, String> {
    let connection = timeout(Duration::from_millis(CONNECT_MS), try_connect(settings)).await;
    connection.map_err(|_elapsed| "it does not answer")?.map_err(|error| error.to_string())
}

async fn try_connect(settings: &StoreSettings) -> RedisResult<Connection> {
    let (node, answer) = (Duration::from_millis(NODE_MS), Duration::from_millis(ANSWER_MS));
    if settings.store.is_cluster {
        let builder = ClusterClientBuilder::new([info(settings)?]).connection_timeout(node);
        let client = builder.response_timeout(answer).retries(1).build()?;
        return Ok(Connection::Cluster(client.get_async_connection().await?));
    }
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_millis(CONNECT_MS)))
        .set_response_timeout(Some(answer));
    let client = Client::open(info(settings)?)?;
    Ok(Connection::Single(client.get_multiplexed_async_connection_with_config(&config).await?))
}

fn info(StoreSettings { store, password, .. }: &StoreSettings) -> RedisResult<ConnectionInfo> {
    let info = store.url.as_str().into_connection_info()?;
    let mut entry = info.redis_settings().clone();
    if let Some(username) = &store.username {
        entry = entry.set_username(username);
    }
    if let Some(password) = password {
        entry = entry.set_password(password);
    }
    Ok(info.set_redis_settings(entry))
}
