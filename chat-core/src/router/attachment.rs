//! The handle that keeps a session on this node.

use std::sync::Arc;

use super::session::SessionHandle;
use super::{Outbox, Router};
use crate::model::{Caller, PresenceState, SessionId};

/// A session on this node. It ends when this is dropped.
#[derive(Debug)]
pub struct SubscriptionGuard {
    pub(super) router: Router,
    pub(super) session: Arc<SessionHandle>,
}

impl SubscriptionGuard {
    /// The session's id on this node.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.session.id
    }

    /// Whom it speaks for.
    #[must_use]
    pub fn caller(&self) -> Caller {
        self.session.caller
    }

    /// Where its pushes go.
    #[must_use]
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.session.outbox
    }

    /// Online or idle.
    pub fn set_presence(&self, state: PresenceState) {
        self.session.set_presence(state);
        self.router
            .shared
            .claims
            .add((self.session.caller.user, self.session.caller.device));
    }
}

impl Drop for SubscriptionGuard {
    fn drop(&mut self) {
        self.router.shared.forget(&self.session);
    }
}
