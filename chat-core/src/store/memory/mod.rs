//! Store in memory, for tests, trials, and applications that need no durable data. Its content is
//! lost when the process ends.
//!
//! One lock admits any number of readers or one writer. A unit of work writes directly into the
//! tables, and records in a journal how to undo each write if the unit fails.

mod accounts;
mod contacts;
mod conversations;
mod cursors;
mod feeds;
mod messages;
mod operators;
mod request_notices;
mod tables;
mod tx;

use std::collections::HashMap;

use async_trait::async_trait;
use tokio::time::Instant;

use self::tables::Tables;
use self::tx::MemoryTx;
use super::backend::run_inline;
use super::{Heartbeat, Store, StoreError, TxError, Unit, UserChange, sql_support};
use crate::model::{ClusterKey, NodeId, StoreEpoch, Timestamp};
use crate::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A [`Store`] in memory, whose content does not survive a restart.
#[derive(Debug)]
pub struct MemoryStore {
    epoch: StoreEpoch,
    cluster_key: ClusterKey,
    /// Time at which the store's clock was 0.
    created: Instant,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    tables: Tables,
    /// Time of the latest heartbeat of each node. A heartbeat of any node removes those nodes whose
    /// latest one is older than [`Heartbeat::PEER_TIMEOUT`].
    nodes: HashMap<NodeId, Instant>,
    is_closed: bool,
}

impl MemoryStore {
    /// Creates an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self {
            epoch: StoreEpoch::random(),
            cluster_key: ClusterKey::random(),
            created: Instant::now(),
            state: RwLock::default(),
        }
    }

    /// Returns the time by the store's clock, which starts at 0 with the store. Leases of feeds
    /// expire by this clock.
    fn now(&self) -> Timestamp {
        Timestamp(0).plus_millis(sql_support::millis(self.created.elapsed()))
    }

    /// Runs `query` on the committed tables. Fails if the store was closed.
    fn read<T>(&self, query: impl FnOnce(&Tables) -> T) -> Result<T, StoreError> {
        let state: RwLockReadGuard<'_, State> = self.state.read();
        state.check_open()?;
        Ok(query(&state.tables))
    }

    /// Locks the state for one writer. Fails if the store was closed.
    fn write(&self) -> Result<RwLockWriteGuard<'_, State>, StoreError> {
        let state = self.state.write();
        state.check_open()?;
        Ok(state)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// Returns an error if the store was closed.
    fn check_open(&self) -> Result<(), StoreError> {
        if self.is_closed {
            return Err(StoreError::unavailable("the store was closed"));
        }
        Ok(())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn transact(&self, mut unit: Box<dyn Unit>) -> Result<(), StoreError> {
        let now = self.now();
        let mut state = self.write()?;
        let mut tx = MemoryTx::new(&mut state.tables, now);
        match run_inline(&mut *unit, &mut tx) {
            Ok(()) => tx.commit(),
            Err(TxError::Abort) => Err(StoreError::Aborted),
            Err(TxError::Store(error)) => Err(error),
        }
    }

    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        self.read(|_| self.epoch)
    }

    async fn cluster_key(&self) -> Result<ClusterKey, StoreError> {
        self.read(|_| self.cluster_key.clone())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.read(|_| ())
    }

    async fn newest_event_time(&self) -> Result<Option<Timestamp>, StoreError> {
        let newest = |tables: &Tables| {
            let logs = tables.conversations.values();
            logs.filter_map(|log| log.events.last().map(|event| event.time)).max()
        };
        self.read(newest)
    }

    async fn heartbeat(&self, node: NodeId) -> Result<Heartbeat, StoreError> {
        let nodes = &mut self.write()?.nodes;
        nodes.insert(node, Instant::now());
        nodes.retain(|_, at| at.elapsed() <= Heartbeat::PEER_TIMEOUT);
        let others = nodes.keys().copied().filter(|other| *other != node);
        Ok(Heartbeat::new(others.collect(), None))
    }

    async fn changed_users(&self) -> Result<Option<Vec<UserChange>>, StoreError> {
        let now = self.now();
        let window = sql_support::millis(UserChange::WINDOW);
        self.read(|tables| {
            let recent = tables
                .user_changes
                .iter()
                .filter(|(_, (_, time))| now.millis_since(*time) <= window);
            Some(
                recent
                    .map(|(user, (number, _))| UserChange::new(*user, *number))
                    .collect(),
            )
        })
    }

    async fn close(&self) {
        self.state.write().is_closed = true;
    }
}

#[cfg(test)]
mod tests;
