//! [`Pool`]: the driver's pool of connections, replaced as a whole if one of them gives no answer.

use std::time::Duration;

use chat_core::store::StoreError;
use chat_core::sync::{Mutex, MutexGuard};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use tokio::time::{Instant, timeout};

use crate::error::store_error;

/// Time without an answer from the database after which a connection is pinged before its use.
const TRUST_PERIOD: Duration = Duration::from_secs(1);
/// Maximum wait for the answer to that ping.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum wait for a connection. The gates of the store admit at most as many callers as the
/// driver's pool may have connections, so the pool can always open one. After this time the
/// driver's pool is replaced, because the network may have lost the connection attempt, or the
/// driver may wait for a dead connection to close.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections to one database, in the driver's pool.
///
/// A firewall or a router that restarts forgets connections without an error: a request on such a
/// connection is lost, and its caller waits until the deadline. If each dead connection of a pool
/// were detected by a failing request, dozens of requests would fail one after the other.
/// Therefore, when one connection does not answer a ping, the driver's pool is replaced, and with
/// it all connections that no request is using.
#[derive(Debug)]
pub(crate) struct Pool {
    options: Opts,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    current: mysql_async::Pool,
    /// Number of the driver's pools before `current`.
    generation: u64,
    /// Time of the last answer from the database since `current` was last replaced.
    answered: Option<Instant>,
}

impl Pool {
    pub(crate) fn new(options: Opts) -> Self {
        let current = mysql_async::Pool::new(options.clone());
        Self {
            options,
            state: Mutex::new(State {
                current,
                generation: 0,
                answered: None,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Records that the database has answered, so that for [`TRUST_PERIOD`] no connection is pinged
    /// before its use.
    pub(crate) fn record_answer(&self) {
        self.state().answered = Some(Instant::now());
    }

    /// Returns a connection. Pings it first, unless the database answered in the last
    /// [`TRUST_PERIOD`]. If the ping gets no answer, or no connection opens in time, replaces the
    /// driver's pool and tries again, without a limit; the caller limits the whole request. Fails
    /// if the database refuses the connection or has closed it.
    pub(crate) async fn connection(&self) -> Result<Conn, StoreError> {
        loop {
            let (pool, generation, is_trusted) = {
                let state = self.state();
                let is_trusted = state.answered.is_some_and(|at| at.elapsed() < TRUST_PERIOD);
                (state.current.clone(), state.generation, is_trusted)
            };
            if let Ok(conn) = timeout(CONNECT_TIMEOUT, pool.get_conn()).await {
                let mut conn = conn.map_err(store_error)?;
                if is_trusted {
                    return Ok(conn);
                }
                // The ping of a connection that the server has closed fails at once. The driver
                // then drops that connection only, and the next caller pings another one.
                match timeout(PING_TIMEOUT, conn.ping()).await {
                    Ok(Ok(())) => {
                        self.record_answer();
                        return Ok(conn);
                    }
                    Ok(Err(error)) => return Err(store_error(error)),
                    // Dropping the connection in the middle of an answer closes it.
                    Err(_) => {}
                }
            }
            self.retire(generation);
        }
    }

    /// Replaces the driver's pool of this generation with an empty one, unless another caller has
    /// done so. Running requests keep their connections.
    fn retire(&self, generation: u64) {
        let mut state = self.state();
        if state.generation == generation {
            tracing::info!("the database does not answer; replacing all connections to it");
            state.current = mysql_async::Pool::new(self.options.clone());
            state.generation += 1;
            state.answered = None;
        }
    }

    /// Waits until all connections of the driver's current pool have been returned, and closes
    /// them. Does not wait for connections of earlier pools.
    pub(crate) async fn disconnect(&self) -> mysql_async::Result<()> {
        let pool = self.state().current.clone();
        pool.disconnect().await
    }
}
