//! Presence of users, and its announcement to their friends. A user's presence is derived only from
//! the user's sessions.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::router_ports::{LocalSessions, NoticeSender};
use crate::cluster::Presence;
use crate::engine::store_access::StoreAccess;
use crate::model::{DeviceId, NodeId, PresenceState, Push, UserId};
use crate::panics;
use crate::sync::Mutex;

/// Users whose sessions changed since the worker last took them. Bounded by the number of users.
#[derive(Debug, Default)]
pub(in crate::engine) struct PresenceQueue {
    changed: Mutex<HashSet<UserId>>,
    added: Notify,
}

impl PresenceQueue {
    /// Queues a user after one of the user's sessions started, changed its state or ended.
    pub(in crate::engine) fn changed(&self, user: UserId) {
        self.changed.lock().insert(user);
        self.added.notify_one();
    }

    fn take(&self) -> HashSet<UserId> {
        std::mem::take(&mut *self.changed.lock())
    }
}

/// Sessions of users, on this node and on others.
#[derive(Debug)]
pub(in crate::engine) struct PresenceView {
    presence: Arc<dyn Presence>,
    sessions: Arc<dyn LocalSessions>,
    node: NodeId,
}

impl PresenceView {
    pub(in crate::engine) fn new(presence: Arc<dyn Presence>, sessions: Arc<dyn LocalSessions>, node: NodeId) -> Self {
        Self {
            presence,
            sessions,
            node,
        }
    }

    /// Returns the presence of each user: the greatest state among the user's sessions on all
    /// nodes. Users without a session are left out.
    ///
    /// The sessions of other nodes are soft state: while they cannot be read, only this node's
    /// sessions count.
    pub(in crate::engine) async fn states(&self, users: &[UserId]) -> HashMap<UserId, PresenceState> {
        let mut states: HashMap<UserId, PresenceState> = HashMap::new();
        let mut raise = |user: UserId, state: PresenceState| {
            let known = states.entry(user).or_default();
            *known = state.max(*known);
        };
        let reported = self.presence.devices(users).await.unwrap_or_default();
        for (user, _, node, state) in reported {
            // What this node has reported may be outdated; `sessions` has the current state of the
            // node's own sessions.
            if node != self.node {
                raise(user, state);
            }
        }
        for user in users {
            for (_, state) in self.sessions.of_user(*user) {
                raise(*user, state);
            }
        }
        states
    }

    /// Returns the devices of a user that have a session. A device whose session has just ended may
    /// be among them. While the sessions of other nodes cannot be read, only this node's sessions
    /// count.
    pub(in crate::engine) async fn live_devices(&self, user: UserId) -> HashSet<DeviceId> {
        // An outage or a defect of the presence service must not make a login fail.
        let reported = panics::step("presence of a user", self.presence.devices(&[user])).await;
        let reported = reported.and_then(Result::ok).unwrap_or_default();
        let local = self.sessions.of_user(user);
        // What this node has reported may be outdated.
        let by_others = reported.into_iter().filter(|(_, _, node, _)| *node != self.node);
        let reported = by_others.map(|(_, device, ..)| device);
        reported
            .chain(local.into_iter().filter_map(|(caller, _)| caller.device()))
            .collect()
    }
}

/// Last state of each user that was announced to the user's friends, or whose announcement failed.
/// Offline users take no memory.
#[derive(Debug, Default)]
struct Announced(HashMap<UserId, PresenceState>);

impl Announced {
    /// Records a user's state. Returns whether it has to be announced.
    fn update(&mut self, user: UserId, state: PresenceState) -> bool {
        let before = match state {
            PresenceState::Offline => self.0.remove(&user),
            _ => self.0.insert(user, state),
        };
        before.unwrap_or_default() != state
    }
}

/// Worker that announces changes of a user's presence to the user's friends.
#[derive(Debug)]
pub(in crate::engine) struct PresenceWorker {
    queue: Arc<PresenceQueue>,
    view: Arc<PresenceView>,
    access: Arc<StoreAccess>,
    notices: Arc<dyn NoticeSender>,
    announced: Announced,
}

impl PresenceWorker {
    pub(in crate::engine) fn new(
        queue: Arc<PresenceQueue>,
        view: Arc<PresenceView>,
        access: Arc<StoreAccess>,
        notices: Arc<dyn NoticeSender>,
    ) -> Self {
        Self {
            queue,
            view,
            access,
            notices,
            announced: Announced::default(),
        }
    }

    /// Runs until the engine drains.
    pub(in crate::engine) async fn run(mut self, draining: CancellationToken) {
        loop {
            tokio::select! {
                () = self.queue.added.notified() => {}
                () = draining.cancelled() => return,
            }
            for user in self.queue.take() {
                panics::step("presence", self.announce(user)).await;
            }
        }
    }

    async fn announce(&mut self, user: UserId) {
        let states = self.view.states(&[user]).await;
        let state = states.get(&user).copied().unwrap_or_default();
        if !self.announced.update(user, state) {
            return;
        }
        // A change while the store is unavailable is not announced, now or later: presence is best
        // effort, and clients can read it when they need it.
        let Ok(friends) = self.access.read(self.access.store().friends(user)).await else {
            return;
        };
        for friend in friends {
            self.notices.notify_user(friend, &Push::Presence { user, state }, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presence_is_announced_only_when_it_changes() {
        let mut announced = Announced::default();
        let user = UserId(1);
        assert!(!announced.update(user, PresenceState::Offline));
        assert!(announced.update(user, PresenceState::Online));
        assert!(!announced.update(user, PresenceState::Online));
        assert!(announced.update(user, PresenceState::Idle));
        assert!(announced.update(user, PresenceState::Offline));
        assert!(announced.0.is_empty());
    }

    #[test]
    fn queue_merges_changes_of_one_user() {
        let queue = PresenceQueue::default();
        queue.changed(UserId(1));
        queue.changed(UserId(1));
        assert_eq!(queue.take(), HashSet::from([UserId(1)]));
        assert!(queue.take().is_empty());
    }
}
