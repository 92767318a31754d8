//! Attaching a session to its events.

use std::sync::Arc;

use super::core::Core;
use crate::model::{Caller, CloseCode, Source};
use crate::router::Outbox;
use crate::service::{AttachedSession, CommandError, SessionGuard};

impl Core {
    /// See [`Engine::attach`](super::Engine::attach). The session is attached before the state of
    /// its conversations is read, so that no event falls in between.
    pub(super) async fn attach(
        self: &Arc<Self>,
        caller: Caller,
        source: Source,
        outbox: Arc<Outbox>,
    ) -> Result<AttachedSession, CommandError> {
        if self.draining.is_cancelled() {
            return Err(CommandError::shutting_down());
        }
        let (subscription, heads) = self.read(self.router.subscribe(caller, outbox)).await?;
        // A newer login may have closed the older sessions of the device before this one was
        // attached.
        let device = self.read(self.store.device(caller.user, caller.device)).await?;
        if device.is_none_or(|device| device.session_epoch != caller.epoch) {
            return Err(CommandError::fenced());
        }
        let conversations = self.conversation_infos(caller.user, heads).await?;
        let core = Arc::clone(self);
        let guard = SessionGuard::new(subscription.id(), move || {
            let reason = subscription.outbox().close_code().unwrap_or(CloseCode::Normal);
            drop(subscription);
            core.presences.changed(caller.user);
            core.observer.session_end(caller, reason);
        });
        self.presences.changed(caller.user);
        self.observer.session_start(caller, source);
        Ok(AttachedSession::new(guard, conversations))
    }
}
