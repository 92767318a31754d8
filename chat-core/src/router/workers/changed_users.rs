//! Finds the users of this node whose logins or memberships were changed through other nodes.

use std::collections::HashMap;
use std::sync::Arc;

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
    /// The changes that the last read returned.
    pub(crate) known: Mutex<HashMap<UserId, u64>>,
}

impl FindChangedUsers {
    pub(crate) async fn run(self) {
        let find = |()| self.find();
        self.requests.drain_forever(self.options, find).await;
    }

    async fn find(&self) -> Result<(), StoreError> {
        match self.log.changed_users().await? {
            Some(changes) => self.changed.add_all(self.unknown(&changes)),
            None => self.all.add_all(self.registry.users()),
        }
        Ok(())
    }

    /// Returns the users of this node whose change the last read did not return, and makes
    /// `changes` the known ones.
    fn unknown(&self, changes: &[UserChange]) -> Vec<UserId> {
        let mut known = self.known.lock();
        let is_unknown = |change: &&UserChange| {
            known.get(&change.user) != Some(&change.number) && self.registry.has_user(change.user)
        };
        let unknown = changes.iter().filter(is_unknown).map(|change| change.user).collect();
        *known = changes.iter().map(|change| (change.user, change.number)).collect();
        unknown
    }
}
