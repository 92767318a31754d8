//! The guard of a session on this node.

use std::sync::Arc;

use super::local_delivery::LocalDelivery;
use super::outbox::Outbox;
use super::session::SessionHandle;
use super::tasks::Tasks;
use crate::model::{Caller, PresenceState, SessionId, Source, Timestamp};

/// Guard of a session that receives the pushes of its user's conversations. Dropping the guard ends
/// the session on this node.
#[derive(Debug)]
pub struct SubscriptionGuard {
    session: Arc<SessionHandle>,
    delivery: Arc<LocalDelivery>,
    /// Keeps the router's tasks running while a session needs them.
    _tasks: Arc<Tasks>,
}

impl SubscriptionGuard {
    pub(crate) fn new(session: Arc<SessionHandle>, delivery: Arc<LocalDelivery>, tasks: Arc<Tasks>) -> Self {
        Self {
            session,
            delivery,
            _tasks: tasks,
        }
    }

    /// Returns the session's id on this node.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.session.id
    }

    /// Returns the session's identity: its user, and its device and login if it has them.
    #[must_use]
    pub fn caller(&self) -> Caller {
        self.session.caller
    }

    /// Returns the outbox that takes the session's pushes.
    #[must_use]
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.session.outbox
    }

    /// Records where the session came from and when it started, for lists of sessions.
    pub(crate) fn record_start(&self, source: Source, time: Timestamp) {
        // Only the first call has an effect.
        let _ = self.session.start.set((source, time));
    }

    /// Sets the session's presence. A worker then publishes the presence of its device, if it has
    /// one.
    pub fn set_presence(&self, state: PresenceState) {
        self.session.set_presence(state);
        self.delivery.publish_presence(&self.session);
    }
}

impl Drop for SubscriptionGuard {
    fn drop(&mut self) {
        self.delivery.remove(&self.session);
    }
}
