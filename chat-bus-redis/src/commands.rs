//! Sender of commands to Redis, over a small pool of connections.
//!
//! When a command could not reach Redis, or its caller stopped waiting, a task probes Redis. While
//! a probe has failed and none has succeeded since, commands fail at once, without waiting for a
//! timeout (a circuit breaker).

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bb8_redis::bb8::{ManageConnection, Pool, RunError};
use bb8_redis::redis::aio::{ConnectionLike, MultiplexedConnection};
use bb8_redis::redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, Value,
};
use chat_core::jitter;
use chat_core::model::ClusterKey;
use chat_core::sync::Mutex;
use tokio::time::sleep;

use crate::Options;
use crate::tagged::Tagger;

/// Maximum number of connections for commands. One connection carries many commands at once; thanks
/// to a second one, commands need not wait while the first is replaced.
const CONNECTIONS: u32 = 2;
/// Maximum delay between the pings that probe whether Redis can be reached again.
const PROBE_INTERVAL: Duration = Duration::from_millis(400);

/// Sender of commands to Redis. When a connection has broken, the pool removes it as soon as
/// another command has taken it; that command may fail too.
pub(crate) struct CommandSender {
    pub(crate) client: Client,
    pub(crate) options: Options,
    pub(crate) tagger: Tagger,
    pool: Pool<ConnectionManager>,
    /// The error of the last probe, if it failed.
    outage: Mutex<Option<String>>,
    /// `true` while a task probes Redis.
    is_probing: AtomicBool,
    /// This sender, for the task that probes.
    this: Weak<Self>,
}

impl fmt::Debug for CommandSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's address may contain a password.
        f.debug_struct("CommandSender")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl CommandSender {
    pub(crate) fn new(client: Client, cluster_key: ClusterKey, options: Options) -> Arc<Self> {
        let manager = ConnectionManager {
            client: client.clone(),
            config: connection_config(&options),
        };
        let pool = Pool::builder()
            .max_size(CONNECTIONS)
            .connection_timeout(options.connect_timeout)
            .test_on_check_out(false)
            .build_unchecked(manager);
        Arc::new_cyclic(|this| Self {
            client,
            options,
            tagger: Tagger::new(cluster_key),
            pool,
            outage: Mutex::default(),
            is_probing: AtomicBool::new(false),
            this: Weak::clone(this),
        })
    }

    /// Returns the full name of a key or channel: the prefix of the options, then `name`.
    pub(crate) fn key(&self, name: impl fmt::Display) -> String {
        format!("{}{name}", self.options.prefix)
    }

    /// Sends one command and returns its answer.
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        self.require_reachable()?;
        let attempt = Attempt::new(self);
        let answer = attempt.finish(self.query_regardless(command).await);
        T::from_redis_value(answer?).map_err(RedisError::from)
    }

    /// Sends several commands in one round trip and returns their answers.
    pub(crate) async fn pipeline<T: FromRedisValue>(&self, commands: &Pipeline) -> RedisResult<T> {
        self.require_reachable()?;
        let attempt = Attempt::new(self);
        let answer = async {
            let mut connection = self.connection().await?;
            let answer = commands.query_async(&mut connection.inner).await;
            connection.mark_if_broken(&answer);
            answer
        };
        attempt.finish(answer.await)
    }

    /// Sends one command, even if Redis could not be reached before.
    async fn query_regardless(&self, command: &Cmd) -> RedisResult<Value> {
        let mut connection = self.connection().await?;
        let answer = connection.inner.req_packed_command(command).await;
        connection.mark_if_broken(&answer);
        answer
    }

    fn require_reachable(&self) -> RedisResult<()> {
        match &*self.outage.lock() {
            Some(cause) => Err((ErrorKind::Io, "Redis cannot be reached", cause.clone()).into()),
            None => Ok(()),
        }
    }

    /// Starts to probe Redis, unless a task does so already.
    fn start_probe(&self) {
        if !self.is_probing.swap(true, Ordering::Relaxed) {
            tokio::spawn(probe(Weak::clone(&self.this)));
        }
    }

    /// Returns a clone of a pooled connection, so that other commands can use the pool while this
    /// command waits for its answer.
    async fn connection(&self) -> RedisResult<SharedConnection> {
        let pooled = self.pool.get().await;
        let pooled = pooled.map_err(|error| match error {
            RunError::User(error) => error,
            RunError::TimedOut => RedisError::from((ErrorKind::Io, "no connection to Redis in time")),
        })?;
        Ok(pooled.clone())
    }
}

/// An attempt to get the answer to a command or a pipeline. If it fails because Redis could not be
/// reached, or is dropped because its caller stops waiting, it starts a probe.
struct Attempt<'a> {
    commands: &'a CommandSender,
    is_answered: bool,
}

impl<'a> Attempt<'a> {
    const fn new(commands: &'a CommandSender) -> Self {
        Self {
            commands,
            is_answered: false,
        }
    }

    fn finish<T>(mut self, answer: RedisResult<T>) -> RedisResult<T> {
        self.is_answered = !answer.as_ref().is_err_and(is_connection_error);
        answer
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.commands.start_probe();
        }
    }
}

/// Sends pings until one succeeds, or all handles of the backend are dropped. The first one is sent
/// at once: the failed command may have met only a connection that was closed.
async fn probe(commands: Weak<CommandSender>) {
    loop {
        let Some(commands) = commands.upgrade() else { return };
        match commands.query_regardless(Cmd::new().arg("PING")).await {
            Ok(_) => {
                *commands.outage.lock() = None;
                commands.is_probing.store(false, Ordering::Relaxed);
                return;
            }
            Err(error) => *commands.outage.lock() = Some(error.to_string()),
        }
        drop(commands);
        sleep(jitter::spread(PROBE_INTERVAL, 0.5, 1.0)).await;
    }
}

/// Returns whether the error means that a connection broke, did not answer in time, or could not be
/// opened.
fn is_connection_error(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || error.is_connection_dropped()
}

pub(crate) fn connection_config(options: &Options) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(options.connect_timeout))
        .set_response_timeout(Some(options.response_timeout))
}

/// Connection manager of the pool. It opens connections with the timeouts of the options, and tells
/// the pool which of them are broken. The manager of `bb8_redis` has timeouts that cannot be
/// changed, and never reports a broken connection.
struct ConnectionManager {
    client: Client,
    config: AsyncConnectionConfig,
}

impl fmt::Debug for ConnectionManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionManager")
    }
}

/// Connection of the pool. Clones share the connection, and the mark that it is broken.
#[derive(Clone)]
struct SharedConnection {
    inner: MultiplexedConnection,
    /// `true` once a command failed because the connection broke or did not answer in time.
    is_broken: Arc<AtomicBool>,
}

impl SharedConnection {
    /// Marks the connection as broken if the command failed for that reason or got no answer in
    /// time, so that the pool replaces the connection.
    fn mark_if_broken<T>(&self, answer: &RedisResult<T>) {
        if let Err(error) = answer
            && is_connection_error(error)
        {
            self.is_broken.store(true, Ordering::Relaxed);
        }
    }
}

impl ManageConnection for ConnectionManager {
    type Connection = SharedConnection;
    type Error = RedisError;

    async fn connect(&self) -> Result<SharedConnection, RedisError> {
        let inner = self
            .client
            .get_multiplexed_async_connection_with_config(&self.config)
            .await?;
        Ok(SharedConnection {
            inner,
            is_broken: Arc::default(),
        })
    }

    async fn is_valid(&self, connection: &mut SharedConnection) -> Result<(), RedisError> {
        let _: Value = Cmd::new().arg("PING").query_async(&mut connection.inner).await?;
        Ok(())
    }

    fn has_broken(&self, connection: &mut SharedConnection) -> bool {
        connection.is_broken.load(Ordering::Relaxed)
    }
}
