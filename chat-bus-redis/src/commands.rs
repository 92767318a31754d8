//! Commands to Redis, over a small pool of connections.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bb8_redis::bb8::{ManageConnection, Pool};
use bb8_redis::redis::aio::{ConnectionLike, MultiplexedConnection};
use bb8_redis::redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, Value,
};

use crate::Options;

/// Number of connections for commands. Each carries many commands at once, so the second one serves
/// while the first is replaced.
const CONNECTIONS: u32 = 2;

/// Sends commands. The next command replaces a connection that broke.
pub(crate) struct Commands {
    pub(crate) client: Client,
    pub(crate) options: Options,
    pool: Pool<Manager>,
}

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's address may contain a password.
        f.debug_struct("Commands")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Commands {
    pub(crate) fn new(client: Client, options: Options) -> Self {
        let manager = Manager {
            client: client.clone(),
            config: connection_config(&options),
        };
        let pool = Pool::builder()
            .max_size(CONNECTIONS)
            .connection_timeout(options.connect_timeout)
            .test_on_check_out(false)
            .build_unchecked(manager);
        Self { client, options, pool }
    }

    /// Returns the name of a key or channel, with the prefix.
    pub(crate) fn key(&self, name: impl fmt::Display) -> String {
        format!("{}{name}", self.options.prefix)
    }

    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let mut connection = self.connection().await?;
        let answer = connection.inner.req_packed_command(command).await;
        connection.record(&answer);
        T::from_redis_value(answer?).map_err(RedisError::from)
    }

    /// Sends several commands in one round trip.
    pub(crate) async fn pipeline<T: FromRedisValue>(&self, commands: &Pipeline) -> RedisResult<T> {
        let mut connection = self.connection().await?;
        let answer = commands.query_async(&mut connection.inner).await;
        connection.record(&answer);
        answer
    }

    /// Returns a copy of a pooled connection, so that the pool is free while the command is under
    /// way.
    async fn connection(&self) -> RedisResult<Pooled> {
        let pooled = self.pool.get().await;
        let pooled = pooled.map_err(|_| RedisError::from((ErrorKind::Io, "no connection to Redis")))?;
        Ok(pooled.clone())
    }
}

pub(crate) fn connection_config(options: &Options) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(options.connect_timeout))
        .set_response_timeout(Some(options.response_timeout))
}

/// Opens connections with timeouts, and reports which of them broke. The manager of `bb8_redis`
/// does neither.
struct Manager {
    client: Client,
    config: AsyncConnectionConfig,
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Manager")
    }
}

#[derive(Clone)]
struct Pooled {
    inner: MultiplexedConnection,
    is_broken: Arc<AtomicBool>,
}

impl Pooled {
    /// Marks the connection as broken if it gave no answer: a late answer must not reach the next
    /// command.
    fn record<T>(&self, answer: &RedisResult<T>) {
        if let Err(error) = answer
            && (error.is_io_error() || error.is_timeout() || error.is_connection_dropped())
        {
            self.is_broken.store(true, Ordering::Relaxed);
        }
    }
}

impl ManageConnection for Manager {
    type Connection = Pooled;
    type Error = RedisError;

    async fn connect(&self) -> Result<Pooled, RedisError> {
        let inner = self
            .client
            .get_multiplexed_async_connection_with_config(&self.config)
            .await?;
        Ok(Pooled {
            inner,
            is_broken: Arc::default(),
        })
    }

    async fn is_valid(&self, connection: &mut Pooled) -> Result<(), RedisError> {
        let _: Value = Cmd::new().arg("PING").query_async(&mut connection.inner).await?;
        Ok(())
    }

    fn has_broken(&self, connection: &mut Pooled) -> bool {
        connection.is_broken.load(Ordering::Relaxed)
    }
}
