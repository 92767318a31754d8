//! Finds the users of this node whose logins or memberships have changed, for example through other
//! nodes, and closes their sessions whose login is no longer valid.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::model::{CloseCode, UserId};
use crate::router::event_log::EventLog;
use crate::router::work_set::{WorkSet, WorkerOptions};
use crate::router::workers::recheck::SessionCheck;
use crate::store::{StoreError, UserChange};
use crate::sync::Mutex;

/// Maximum number of users whose sessions are compared with the store in one query.
const MAX_USERS_PER_QUERY: usize = 500;

/// Request to read the recent changes of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ReadChanges {
    /// Announcements may have been lost. If not all changes are known, the logins and memberships
    /// of all users of this node are read again.
    Requested,
    /// It is time for a regular read, which only compares logins: some logins may have changed
    /// without any announcement.
    Regular,
}

/// Worker that reads the recent changes of users when it is asked to: because announcements may
/// have been lost, or because a regular check is due. While the event log knows the changes, the
/// cost of a read grows with their number, not with the number of users of the node, so that a node
/// without a bus can read every second.
///
/// It compares the logins of the changed users itself, many in one query, so that it closes their
/// sessions soon even if 10,000 users change at once.
#[derive(Debug)]
pub(crate) struct FindChangedUsers {
    /// Reads that were requested and have not started.
    pub(crate) requests: WorkSet<ReadChanges>,
    pub(crate) options: WorkerOptions,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) check: SessionCheck,
    /// Receives the changed users, whose logins and memberships are to be read again soon.
    pub(crate) changed: WorkSet<UserId>,
    /// Receives all users if the event log does not know the changes, or has perhaps returned only
    /// some of them.
    pub(crate) all_users: WorkSet<UserId>,
    pub(crate) known: Mutex<Known>,
}

/// What the requested reads have found.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Users in the result of the last read that returned changes, each with the number of the
    /// user's latest change.
    changes: HashMap<UserId, u64>,
    /// Start of the last read that succeeded.
    read_at: Option<Instant>,
    /// True if the event log has returned a list of changes before, so that it returns `None` only
    /// if there are too many.
    log_records_changes: bool,
}

impl FindChangedUsers {
    pub(crate) async fn run(self) {
        let find = async |request| match request {
            ReadChanges::Requested => self.find().await,
            ReadChanges::Regular => self.compare_logins().await,
        };
        self.requests.drain_forever(self.options, find).await;
    }

    /// Handles [`ReadChanges::Requested`]: closes sessions whose login is no longer valid, and
    /// queues the changed users to be read again, and all users if changes may be missing.
    async fn find(&self) -> Result<(), StoreError> {
        let started = Instant::now();
        let changes = self.log.changed_users().await?;
        match &changes {
            Some(changes) => {
                let changed = self.newly_changed(changes);
                self.close_invalid(&changed).await?;
                self.changed.add_all(changed);
                let mut known = self.known.lock();
                known.changes = changes.iter().map(|change| (change.user, change.number)).collect();
                known.log_records_changes = true;
            }
            None if self.known.lock().log_records_changes => self.close_invalid(&self.check.registry.users()).await?,
            None => {}
        }
        let last_read = self.known.lock().read_at.replace(started);
        // Changes between two reads that are far apart may be older than those that were returned.
        let may_miss_changes = last_read.is_none_or(|last| last.elapsed() > UserChange::WINDOW / 2);
        if changes.is_none() || may_miss_changes {
            self.all_users.add_all(self.check.registry.users());
        }
        Ok(())
    }

    /// Handles [`ReadChanges::Regular`]: closes the sessions of changed users whose login is no
    /// longer valid.
    async fn compare_logins(&self) -> Result<(), StoreError> {
        let Some(changes) = self.log.changed_users().await? else {
            return Ok(());
        };
        let users = changes.iter().map(|change| change.user);
        let here = users.filter(|user| self.check.registry.has_user(*user));
        self.close_invalid(&here.collect::<Vec<_>>()).await
    }

    /// Returns the users of this node whose change is not in [`Known::changes`].
    fn newly_changed(&self, changes: &[UserChange]) -> Vec<UserId> {
        let known = &self.known.lock().changes;
        let is_unknown = |change: &&UserChange| {
            known.get(&change.user) != Some(&change.number) && self.check.registry.has_user(change.user)
        };
        changes.iter().filter(is_unknown).map(|change| change.user).collect()
    }

    /// Closes the sessions of these users whose login is no longer valid.
    async fn close_invalid(&self, users: &[UserId]) -> Result<(), StoreError> {
        for users in users.chunks(MAX_USERS_PER_QUERY) {
            self.check.close_invalid(users, CloseCode::Replaced).await?;
        }
        Ok(())
    }
}
