//! Narrow views of the router, one for each use that the workers make of it. Tests replace them
//! with fakes.

use std::fmt::Debug;

use crate::model::{Caller, CloseCode, ConversationId, PresenceState, Push, UserId};
use crate::router::{Router, SessionSelector};

/// Sender of notices: pushes that no log contains. Best effort.
pub(in crate::engine) trait NoticeSender: Debug + Send + Sync + 'static {
    /// Pushes a notice to a user's sessions on all nodes, except those of the device of `except`.
    fn notify_user(&self, user: UserId, push: &Push, except: Option<Caller>);

    /// Pushes a notice to the sessions that follow a conversation, on all nodes.
    fn notify_conversation(&self, conversation: ConversationId, push: &Push);
}

impl NoticeSender for Router {
    fn notify_user(&self, user: UserId, push: &Push, except: Option<Caller>) {
        Self::notify_user(self, user, push, except);
    }

    fn notify_conversation(&self, conversation: ConversationId, push: &Push) {
        Self::notify_conversation(self, conversation, push, None);
    }
}

/// The sessions on this node.
pub(in crate::engine) trait LocalSessions: Debug + Send + Sync + 'static {
    /// Returns a user's sessions, with the presence of each.
    fn of_user(&self, user: UserId) -> Vec<(Caller, PresenceState)>;

    /// Returns the number of sessions.
    fn count(&self) -> usize;
}

impl LocalSessions for Router {
    fn of_user(&self, user: UserId) -> Vec<(Caller, PresenceState)> {
        self.local_sessions(user)
    }

    fn count(&self) -> usize {
        self.stats().sessions
    }
}

/// Closer of sessions that a change in the store has ended, or may have ended.
pub(in crate::engine) trait SessionCloser: Debug + Send + Sync + 'static {
    /// Closes sessions of a user that a committed change has ended: on this node at once, and on
    /// the others by making them compare the user's sessions with the store.
    fn close(&self, user: UserId, sessions: SessionSelector, code: CloseCode);

    /// Closes sessions of a user that a committed change has ended, on this node.
    fn close_here(&self, user: UserId, sessions: SessionSelector, code: CloseCode);

    /// Makes every node compare a user's sessions with the store, and close those that have ended.
    /// Does not wait for that.
    fn recheck(&self, user: UserId, code: CloseCode);
}

impl SessionCloser for Router {
    fn close(&self, user: UserId, sessions: SessionSelector, code: CloseCode) {
        self.close_sessions(user, sessions, code);
    }

    fn close_here(&self, user: UserId, sessions: SessionSelector, code: CloseCode) {
        self.close_sessions_here(user, sessions, code);
    }

    fn recheck(&self, user: UserId, code: CloseCode) {
        self.recheck_sessions(user, code);
    }
}

/// Knowledge from the heartbeats of the nodes about this node's clock and about other nodes.
pub(in crate::engine) trait HeartbeatStatus: Debug + Send + Sync + 'static {
    /// Returns whether this node's clock differs from the store's by more than 5 min.
    fn is_clock_wrong(&self) -> bool;

    /// Returns whether the store has recently listed other nodes.
    fn has_peers(&self) -> bool;
}

impl HeartbeatStatus for Router {
    fn is_clock_wrong(&self) -> bool {
        Self::is_clock_wrong(self)
    }

    fn has_peers(&self) -> bool {
        Self::has_peers(self)
    }
}
