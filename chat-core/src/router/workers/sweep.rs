//! Sweeps, in which the node compares all its conversations with the store, and its users: all of
//! them, or those whose change the store has recorded. A sweep also publishes the presence of all
//! devices of this node again, and tells event feeds that they may have missed commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::jitter;
use crate::model::{ConversationId, DeviceId, UserId};
use crate::panics;
use crate::router::commit_watch::CommitWatches;
use crate::router::registry::Registry;
use crate::router::store_peers::StorePeers;
use crate::router::sweep_request::SweepRequest;
use crate::router::work_set::WorkSet;
use crate::router::workers::changed_users::ReadChanges;

/// Number of sweeps for each regular recheck of all users, on a node without a bus and without
/// other nodes on its store. On other nodes, every regular sweep rechecks all users, unless the
/// sweep before it was requested and all users were rechecked less than an interval ago.
const SWEEPS_PER_RECHECK_ALONE: u32 = 10;

/// Worker that starts a sweep when one is requested, and otherwise at regular intervals.
#[derive(Debug)]
pub(crate) struct Sweep {
    pub(crate) request: SweepRequest,
    pub(crate) registry: Arc<Registry>,
    pub(crate) store_peers: StorePeers,
    pub(crate) has_bus: bool,
    pub(crate) compare: WorkSet<ConversationId>,
    pub(crate) users: WorkSet<UserId>,
    /// Requests to read the recent changes of users.
    pub(crate) changes: WorkSet<ReadChanges>,
    pub(crate) presence: WorkSet<(UserId, DeviceId)>,
    pub(crate) watches: CommitWatches,
    /// Average interval between sweeps without a request.
    pub(crate) interval: Duration,
    /// Minimum interval between two sweeps, which delays a requested sweep.
    pub(crate) min_interval: Duration,
    /// Number of sweeps that were started.
    pub(crate) sweeps: Arc<AtomicU64>,
}

impl Sweep {
    pub(crate) async fn run(self) {
        let mut last = Instant::now();
        let mut last_of_all_users = last;
        let mut previous_was_requested = false;
        for number in 1_u32.. {
            // The interval is jittered, so that nodes that started together do not sweep together.
            let next = last + jitter::spread(self.interval, 2.0 / 3.0, 4.0 / 3.0);
            let was_requested = tokio::select! {
                // A request has priority, because the node may lack events that are committed.
                biased;
                () = self.request.requested() => true,
                () = sleep_until(next) => false,
            };
            if was_requested && number > 1 {
                sleep_until(last + self.min_interval).await;
            }
            last = Instant::now();
            // A node that polls asks for a sweep at every heartbeat. It reads the changes each
            // time, and all users at the usual interval.
            let are_all_users_due = !previous_was_requested || last.duration_since(last_of_all_users) >= self.interval;
            let swept = panics::step("sweep", async { self.sweep(number, was_requested, are_all_users_due) }).await;
            if swept.is_none() {
                self.request.request();
                continue;
            }
            previous_was_requested = was_requested;
            if are_all_users_due {
                last_of_all_users = last;
            }
        }
    }

    fn sweep(&self, number: u32, was_requested: bool, are_all_users_due: bool) {
        self.sweeps.fetch_add(1, Ordering::Relaxed);
        self.compare.add_all(self.registry.conversations());
        self.watches.mark_incomplete();
        // On a single node, every change of a user's logins and memberships went through this node,
        // unless an operator changed the store directly.
        let is_alone = !self.has_bus && self.store_peers.is_empty();
        self.changes.add(if was_requested {
            // Another node may have changed users of this node, and the announcement may be lost.
            ReadChanges::Requested
        } else {
            // An operator may have changed the store without an announcement.
            ReadChanges::Regular
        });
        if are_all_users_due && (was_requested || !is_alone || number.is_multiple_of(SWEEPS_PER_RECHECK_ALONE)) {
            self.users.add_all(self.registry.users());
        }
        // The presence service may have lost devices of this node.
        self.presence.add_all(self.registry.devices());
    }
}
