//! Finds the users of this node whose logins or memberships were changed through other nodes.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::model::UserId;
use crate::router::event_log::EventLog;
use crate::router::registry::Registry;
use crate::router::work_set::{WorkSet, WorkerOptions};
use crate::store::{StoreError, UserChange};
use crate::sync::Mutex;

/// Worker that reads the recent changes of users when it is asked to, because announcements may
/// have been lost. The cost of a read grows with the number of changes, not with the number of
/// users of the node, so that a node without a bus can read every second.
#[derive(Debug)]
pub(crate) struct FindChangedUsers {
    /// Contains an item while a read is requested.
    pub(crate) requests: WorkSet<()>,
    pub(crate) options: WorkerOptions,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) registry: Arc<Registry>,
    /// Receives the users to read again at once.
    pub(crate) changed: WorkSet<UserId>,
    /// Receives all users if the log does not know the changes.
    pub(crate) all: WorkSet<UserId>,
    pub(crate) known: Mutex<Known>,
}

/// Result of the last read that succeeded.
#[derive(Debug, Default)]
pub(crate) struct Known {
    changes: HashMap<UserId, u64>,
    read_at: Option<Instant>,
}

impl FindChangedUsers {
    pub(crate) async fn run(self) {
        let find = |()| self.find();
        self.requests.drain_forever(self.options, find).await;
    }

    async fn find(&self) -> Result<(), StoreError> {
        let started = Instant::now();
        let changes = self.log.changed_users().await?;
        if let Some(changes) = &changes {
            self.changed.add_all(self.unknown(changes));
        }
        let last_read = self.known.lock().read_at.replace(started);
        // Changes between two reads that are far apart may be older than those that were returned.
        let may_miss_changes = last_read.is_none_or(|last| last.elapsed() > UserChange::WINDOW / 2);
        if changes.is_none() || may_miss_changes {
            self.all.add_all(self.registry.users());
        }
        Ok(())
    }

    /// Returns the users of this node whose change the last read did not return, and makes
    /// `changes` the known ones.
    fn unknown(&self, changes: &[UserChange]) -> Vec<UserId> {
        let known = &mut self.known.lock().changes;
        let is_unknown = |change: &&UserChange| {
            known.get(&change.user) != Some(&change.number) && self.registry.has_user(change.user)
        };
        let unknown = changes.iter().filter(is_unknown).map(|change| change.user).collect();
        *known = changes.iter().map(|change| (change.user, change.number)).collect();
        unknown
    }
}
