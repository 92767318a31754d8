//! The driver's pool, given up as a whole when its connections lead nowhere.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chat_core::store::StoreError;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use tokio::time::{Instant, timeout};

use crate::error::store_error;

/// If nothing was heard of the database for so long, a connection is asked for a sign of life before it is used.
const QUIET: Duration = Duration::from_secs(1);
/// Longest wait for that sign.
const SIGN: Duration = Duration::from_secs(1);
/// Longest wait for a connection: it is made, as those who ask are no more than the pool may have. Made anew after that: the network may
/// have lost the attempt, or the driver may wait for a connection that never ends.
const CONNECT: Duration = Duration::from_secs(2);

/// Connections to one database.
///
/// A firewall or a router that is started anew forgets connections and tells nobody: what is sent on them is lost, each time until
/// the caller's time is up. Were each connection of a pool found out by a request that fails, dozens would fail, one after the other. So the first
/// that is found out dooms all that were made before.
#[derive(Debug)]
pub(crate) struct Pool {
    driver: Opts,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    current: mysql_async::Pool,
    /// How many there were before.
    generation: u64,
    heard: Option<Instant>,
}

impl Pool {
    pub(crate) fn new(driver: Opts) -> Self {
        let current = mysql_async::Pool::new(driver.clone());
        Self {
            driver,
            state: Mutex::new(State {
                current,
                generation: 0,
                heard: None,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database has answered: for a while its connections are trusted.
    pub(crate) fn heard(&self) {
        self.state().heard = Some(Instant::now());
    }

    /// A connection that leads somewhere, as far as can be known. Waits as long as it takes: put a limit around all that it is used for.
    pub(crate) async fn connection(&self) -> Result<Conn, StoreError> {
        loop {
            let (pool, generation, is_trusted) = {
                let state = self.state();
                let is_trusted = state.heard.is_some_and(|at| at.elapsed() < QUIET);
                (state.current.clone(), state.generation, is_trusted)
            };
            if let Ok(conn) = timeout(CONNECT, pool.get_conn()).await {
                let mut conn = conn.map_err(store_error)?;
                if is_trusted {
                    return Ok(conn);
                }
                // One that the server has ended says so at once; then the driver has closed it, and the others are asked.
                match timeout(SIGN, conn.ping()).await {
                    Ok(Ok(())) => {
                        self.heard();
                        return Ok(conn);
                    }
                    Ok(Err(error)) => return Err(store_error(error)),
                    // Dropped in the middle of an answer, and so closed.
                    Err(_) => {}
                }
            }
            self.give_up(generation);
        }
    }

    /// Leaves all connections of this generation to those who use them now.
    fn give_up(&self, generation: u64) {
        let mut state = self.state();
        if state.generation == generation {
            tracing::info!("the database is silent; its connections are given up");
            state.current = mysql_async::Pool::new(self.driver.clone());
            state.generation += 1;
            state.heard = None;
        }
    }

    /// Closes the connections once they are back.
    pub(crate) async fn disconnect(&self) -> mysql_async::Result<()> {
        let pool = self.state().current.clone();
        pool.disconnect().await
    }
}
