//! [`MysqlStore`] and its execution of units of work.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::jitter;
use chat_core::model::{ClusterKey, NodeId, StoreEpoch, Timestamp};
use chat_core::store::{Heartbeat, Store, StoreError, TxError, Unit, UserChange};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, TxOpts};
use tokio::time::{Instant, sleep, timeout_at};

use crate::clock::NOW;
use crate::connections::Connections;
use crate::error::{OpenError, is_conflict, store_error, timed_out};
use crate::heartbeats;
use crate::job::Job;
use crate::migrate::{self, PreparedDatabase};
use crate::options::{self, Options};
use crate::settings::Server;
use crate::tx::MysqlTx;

/// Minimum delay before a job runs again after a conflict with another transaction.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(2);
/// Maximum of the random time that is added to [`MIN_RETRY_DELAY`], reached after several
/// conflicts.
const MAX_RANDOM_DELAY: Duration = Duration::from_millis(100);

/// A [`Store`] in a MySQL or MariaDB database. The documentation of the [crate] describes how it
/// works. Any number of processes may use one database.
#[derive(Debug)]
pub struct MysqlStore {
    pub(crate) connections: Arc<Connections>,
    pub(crate) epoch: StoreEpoch,
    cluster_key: ClusterKey,
}

impl MysqlStore {
    /// Connects, checks the server's settings and the schema, and brings the schema up to date
    /// unless [`Options::migrate`] is off.
    ///
    /// The URL is `mysql://user:password@host:port/database`; the database must exist. With the
    /// feature `tls`, `?require_ssl=true` requires TLS with a certificate that a public authority
    /// issued; with [`Options::ca_file`], one of the authorities in that file must have issued it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(url: &str, options: Options) -> Result<Self, OpenError> {
        let driver_options = options::driver_options(url, &options, false)?;
        let mut conn = connect(driver_options, options.request_timeout).await?;
        let server = Server::query(&mut conn).await?;
        if !server.unsafe_settings.is_empty() {
            if !options.allow_unsafe_durability {
                return Err(OpenError::UnsafeSettings(server.unsafe_settings));
            }
            tracing::warn!(
                settings = server.unsafe_settings.join("; "),
                "the settings of the database may lose acknowledged commits"
            );
        }
        let PreparedDatabase { epoch, cluster_key } = migrate::prepare(&mut conn, options.migrate).await?;
        conn.disconnect().await.map_err(OpenError::from_driver)?;
        let driver_options = options::driver_options(url, &options, server.is_mariadb)?;
        Ok(Self {
            connections: Arc::new(Connections::new(driver_options, &options)),
            epoch,
            cluster_key,
        })
    }

    /// Checks the URL and the options as [`open`](Self::open) does, without connecting.
    ///
    /// # Errors
    /// [`OpenError::Url`], [`OpenError::Authorities`] or [`OpenError::NoTls`].
    pub fn check_url(url: &str, options: &Options) -> Result<(), OpenError> {
        options::driver_options(url, options, false).map(drop)
    }

    /// Gives the store a new store epoch, so that clients discard what they have saved of its data,
    /// and a new [cluster key](Store::cluster_key), so that the nodes of the original store and
    /// those of a copy ignore each other's data on the bus. Returns the epoch. Also brings the
    /// schema up to date unless [`Options::migrate`] is off.
    ///
    /// Call this after restoring a backup that is older than the events that clients have seen.
    /// Stop all nodes first, because nodes read the epoch and the key when they open the store; one
    /// that starts meanwhile rejects all requests from its next heartbeat on.
    ///
    /// # Errors
    /// See [`OpenError`]; [`OpenError::InUse`] if a node was alive within the last 10 s, and
    /// [`OpenError::OlderSchema`] with `found: 0` if the database holds no store: this creates
    /// none.
    pub async fn renew_epoch(url: &str, options: Options) -> Result<StoreEpoch, OpenError> {
        let driver_options = options::driver_options(url, &options, false)?;
        let mut conn = connect(driver_options, options.request_timeout).await?;
        migrate::require_store(&mut conn).await?;
        heartbeats::require_no_node(&mut conn).await?;
        migrate::prepare(&mut conn, options.migrate).await?;
        let epoch = migrate::renew_epoch(&mut conn).await?;
        conn.disconnect().await.map_err(OpenError::from_driver)?;
        Ok(epoch)
    }
}

impl MysqlStore {
    /// Runs a job in a separate task, so that a caller that stops waiting does not interrupt a
    /// commit.
    pub(crate) async fn run(&self, job: Job) -> Result<(), StoreError> {
        let connections = Arc::clone(&self.connections);
        let task = tokio::spawn(async move { connections.run(job).await });
        task.await.unwrap_or_else(|_| {
            Err(StoreError::unavailable(
                "the task of the request ended before the database answered",
            ))
        })
    }
}

impl MysqlStore {
    /// Runs a query that selects one time. Returns `None` if that is NULL.
    async fn read_time(&self, sql: &str) -> Result<Option<Timestamp>, StoreError> {
        let work = async {
            let mut conn = self.connections.reader().await?;
            let row: Option<Option<i64>> = conn.query_first(sql).await.map_err(store_error)?;
            Ok(row.flatten().map(Timestamp))
        };
        self.connections.with_deadline(work).await
    }
}

async fn connect(driver_options: Opts, limit: Duration) -> Result<Conn, OpenError> {
    match tokio::time::timeout(limit, Conn::new(driver_options)).await {
        Ok(connected) => connected.map_err(OpenError::cannot_connect),
        Err(_) => Err(OpenError::Connect(
            format!("the database server did not answer within {limit:?}").into(),
        )),
    }
}

/// Result of one run of a job.
enum Attempt {
    /// The job is done, or failed for another reason than a conflict.
    Ended(Result<(), StoreError>),
    /// The run conflicted with another transaction; nothing was written.
    Conflict(StoreError),
}

impl Connections {
    /// Runs a job. Repeats it after a conflict, while the next run can begin before its deadline.
    async fn run(&self, mut job: Job) -> Result<(), StoreError> {
        let deadline = self.deadline();
        let mut max_random_delay = MIN_RETRY_DELAY;
        loop {
            let conflict = match timeout_at(deadline, self.attempt(&mut job)).await {
                Err(_) => return Err(timed_out()),
                Ok(Attempt::Ended(result)) => {
                    if result.is_ok() {
                        self.record_answer();
                    }
                    return result;
                }
                Ok(Attempt::Conflict(error)) => error,
            };
            if Instant::now() + max_random_delay >= deadline {
                return Err(conflict);
            }
            // Jittered, so that two conflicting transactions do not retry in step.
            sleep(MIN_RETRY_DELAY + jitter::spread(max_random_delay, 0.0, 1.0)).await;
            max_random_delay = (max_random_delay * 2).min(MAX_RANDOM_DELAY);
        }
    }

    /// Waits for a connection for writes, and runs a job once. Closes the connection if its server
    /// accepts no writes, because a new connection may reach a server that does.
    async fn attempt(&self, job: &mut Job) -> Attempt {
        let mut conn = match self.acquire(&self.writes).await {
            Ok(conn) => conn,
            Err(error) => return Attempt::Ended(Err(error)),
        };
        let mut is_server_read_only = false;
        let attempt = transact(&mut conn, job, &mut is_server_read_only).await;
        if is_server_read_only {
            conn.close().await;
        }
        attempt
    }
}

/// Runs a job in a transaction, which it commits, or rolls back after an error. Sets
/// `is_server_read_only` if a statement of the job failed because the server accepts no writes.
async fn transact(conn: &mut Conn, job: &mut Job, is_server_read_only: &mut bool) -> Attempt {
    let tx = match conn.start_transaction(TxOpts::default()).await {
        Ok(tx) => tx,
        Err(error) => return Attempt::Ended(Err(store_error(error))),
    };
    let mut tx = MysqlTx::new(tx);
    let mut result = job.run(&mut tx).await;
    if result.is_ok() {
        result = tx.write_user_changes().await.map_err(TxError::Store);
    }
    *is_server_read_only = tx.is_server_read_only;
    let MysqlTx {
        tx,
        contract,
        is_in_conflict,
        ..
    } = tx;
    let error = match result {
        Ok(()) => match contract.before_commit() {
            Ok(()) => return commit_result(tx.commit().await),
            Err(error) => error,
        },
        Err(TxError::Abort) => StoreError::Aborted,
        Err(TxError::Store(error)) => error,
    };
    if let Err(failed) = tx.rollback().await {
        // After a failed rollback, the driver closes the connection, or rolls back again before the
        // connection is used again. Both end the transaction.
        tracing::debug!(
            error = &failed as &dyn std::error::Error,
            "could not roll back a transaction"
        );
    }
    if is_in_conflict {
        Attempt::Conflict(error)
    } else {
        Attempt::Ended(Err(error))
    }
}

/// Maps the result of a commit. A transaction whose commit conflicted was not stored; after any
/// other error, it may have been stored.
fn commit_result(result: mysql_async::Result<()>) -> Attempt {
    match result {
        Ok(()) => Attempt::Ended(Ok(())),
        Err(error) if is_conflict(&error) => Attempt::Conflict(store_error(error)),
        Err(error) => Attempt::Ended(Err(StoreError::unavailable(error))),
    }
}

#[async_trait]
impl Store for MysqlStore {
    async fn transact(&self, unit: Box<dyn Unit>) -> Result<(), StoreError> {
        self.run(Job::Unit(unit)).await
    }

    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        self.connections.check_open()?;
        Ok(self.epoch)
    }

    async fn cluster_key(&self) -> Result<ClusterKey, StoreError> {
        self.connections.check_open()?;
        Ok(self.cluster_key.clone())
    }

    async fn changed_users(&self) -> Result<Option<Vec<UserChange>>, StoreError> {
        self.recent_user_changes().await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let work = async {
            let mut conn = self.connections.reader().await?;
            conn.query_drop("SELECT 1 FROM meta LIMIT 1").await.map_err(store_error)
        };
        self.connections.with_deadline(work).await
    }

    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read_time(&format!("SELECT {NOW}")).await
    }

    async fn newest_event_time(&self) -> Result<Option<Timestamp>, StoreError> {
        // The `last_time` of a conversation without events is the time of its creation.
        self.read_time("SELECT MAX(last_time) FROM conversation WHERE last_seq > 0")
            .await
    }

    async fn heartbeat(&self, node: NodeId) -> Result<Heartbeat, StoreError> {
        self.record_heartbeat(node).await
    }

    async fn close(&self) {
        self.connections.close().await;
    }
}
