//! Telling friends who comes and goes. What a user's presence is follows from their sessions alone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::Notify;

use super::core::Core;
use crate::model::{NodeId, PresenceState, Push, UserId};
use crate::sync::Mutex;

/// Users whose sessions changed.
#[derive(Debug)]
pub(super) struct PresenceQueue {
    node: NodeId,
    changed: Mutex<HashSet<UserId>>,
    some: Notify,
}

impl PresenceQueue {
    pub(super) fn new(node: NodeId) -> Self {
        Self {
            node,
            changed: Mutex::default(),
            some: Notify::new(),
        }
    }

    /// A session of this user began, changed or ended. Bounded by the users there are; merged until it is looked at.
    pub(super) fn changed(&self, user: UserId) {
        self.changed.lock().insert(user);
        self.some.notify_one();
    }

    fn take(&self) -> HashSet<UserId> {
        std::mem::take(&mut *self.changed.lock())
    }
}

impl Core {
    /// The most present of each user's sessions, on any node. Users without one are left out.
    pub(super) async fn presence_of(&self, users: &[UserId]) -> HashMap<UserId, PresenceState> {
        let mut states: HashMap<UserId, PresenceState> = HashMap::new();
        let mut note = |user: UserId, state: PresenceState| {
            let known = states.entry(user).or_default();
            *known = state.max(*known);
        };
        // Soft state: while it cannot be read, only this node's own sessions are known. For these the node is right by itself.
        let claimed = self.presence.devices(users).await.unwrap_or_default();
        for (user, _, node, state) in claimed {
            if node != self.presences.node {
                note(user, state);
            }
        }
        for user in users {
            for (_, state) in self.router.local_sessions(*user) {
                note(*user, state);
            }
        }
        states
    }
}

/// Tells friends until the engine stops.
pub(super) async fn run(core: Arc<Core>) {
    let mut told: HashMap<UserId, PresenceState> = HashMap::new();
    loop {
        tokio::select! {
            () = core.presences.some.notified() => {}
            () = core.draining.cancelled() => return,
        }
        for user in core.presences.take() {
            let state = core.presence_of(&[user]).await.get(&user).copied().unwrap_or_default();
            let before = match state {
                PresenceState::Offline => told.remove(&user),
                _ => told.insert(user, state),
            };
            if before.unwrap_or_default() == state {
                continue;
            }
            // Nobody is told while the store is away: presence is best effort, and is read when it is asked for.
            let Ok(friends) = core.read(core.store.friends(user)).await else {
                continue;
            };
            for friend in friends {
                core.router.notify_user(friend, &Push::Presence { user, state }, None);
            }
        }
    }
}
