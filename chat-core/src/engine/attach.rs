//! Attaching a session to its events.

use std::sync::Arc;

use super::error::CommandError;
use super::lifecycle::Lifecycle;
use super::units::Units;
use super::views::conversation_infos;
use super::workers::{ObserverQueue, PresenceQueue};
use crate::model::{Caller, CloseCode, Origin, Source};
use crate::router::{Outbox, Router};
use crate::service::{AttachedSession, SessionGuard};

/// Begins and ends sessions on this node.
#[derive(Debug)]
pub(super) struct Sessions {
    pub(super) units: Arc<Units>,
    pub(super) router: Router,
    pub(super) presence: Arc<PresenceQueue>,
    pub(super) observers: Arc<ObserverQueue>,
    pub(super) lifecycle: Lifecycle,
}

impl Sessions {
    /// See [`Engine::attach`](super::Engine::attach). The session is attached before the state of
    /// its conversations is read, so that no event falls in between.
    pub(super) async fn attach(
        self: Arc<Self>,
        caller: Caller,
        source: Source,
        outbox: Arc<Outbox>,
    ) -> Result<AttachedSession, CommandError> {
        let Origin::Device { device, epoch } = caller.origin else {
            return Err(CommandError::needs_device());
        };
        if self.lifecycle.is_draining() {
            return Err(CommandError::shutting_down());
        }
        let units = &self.units;
        let (subscription, memberships) = units.read(self.router.subscribe(caller, outbox)).await?;
        // A newer login may have closed the older sessions of the device before this one was
        // attached.
        let device = units.read(units.store().device(caller.user, device)).await?;
        if device.is_none_or(|device| device.session_epoch != epoch) {
            return Err(CommandError::fenced());
        }
        let conversations = conversation_infos(units, caller.user, memberships).await?;
        self.presence.changed(caller.user);
        self.observers.session_start(caller, source);
        let guard = SessionGuard::new(subscription.id(), move || {
            let reason = subscription.outbox().close_code().unwrap_or(CloseCode::Normal);
            drop(subscription);
            self.presence.changed(caller.user);
            self.observers.session_end(caller, reason);
        });
        Ok(AttachedSession::new(guard, conversations))
    }
}
