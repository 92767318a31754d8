//! Sessions of this node: attaching a session to the router, which delivers events to it, and
//! ending it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

use super::caller_check::check_caller;
use super::error::CommandError;
use super::lifecycle::Lifecycle;
use super::limits::UserLimits;
use super::query_lanes::{ROWS_PER_CONVERSATION, ROWS_PER_QUERY};
use super::store_access::StoreAccess;
use super::views::{conversation_infos, newest_memberships, without_descriptions};
use super::workers::{MarkQueue, ObserverQueue, PresenceQueue};
use crate::model::{Caller, CloseCode, Device, DeviceId, Origin, SessionEpoch, Source, Timestamp, UserId};
use crate::router::{Outbox, Router, SessionSelector};
use crate::service::{AttachedSession, SessionGuard};

/// Starts and ends sessions on this node.
#[derive(Debug)]
pub(super) struct Sessions {
    pub(super) access: Arc<StoreAccess>,
    pub(super) router: Router,
    pub(super) marks: Arc<MarkQueue>,
    pub(super) presence: Arc<PresenceQueue>,
    pub(super) observers: Arc<ObserverQueue>,
    pub(super) lifecycle: Lifecycle,
    pub(super) limits: Arc<UserLimits>,
    /// Maximum number of conversations that a login lists.
    pub(super) max_list_length: u32,
}

impl Sessions {
    /// Implements [`Engine::attach`](super::Engine::attach). Attaches the session before it reads
    /// the state of the conversations, so that the session misses no event.
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
        let access = &self.access;
        self.marks.wait_until_written(caller.user).await;
        // If the device has logged in again since, this fails before the conversations are read.
        self.require_epoch(caller, device, epoch).await?;
        let (subscription, memberships) = access.read(self.router.subscribe(caller, outbox)).await?;
        let rows = ROWS_PER_QUERY as usize + memberships.len();
        self.limits
            .charge_read(caller.user, u32::try_from(rows).unwrap_or(u32::MAX));
        subscription.record_start(source, access.wall_time());
        // A newer login of the device closes its older sessions. If that happened just before this
        // session was attached, this session was not closed.
        let device_row = self.require_epoch(caller, device, epoch).await?;
        let expiry = device_row
            .session_expires
            .map(|at| self.end_at(at, caller.user, device, epoch));
        let (listed, has_more) = newest_memberships(memberships, self.max_list_length);
        let rows = listed.len() * (ROWS_PER_CONVERSATION - 1);
        self.limits
            .charge_read(caller.user, u32::try_from(rows).unwrap_or(u32::MAX));
        let conversations = without_descriptions(conversation_infos(access, caller.user, listed).await?);
        self.presence.changed(caller.user);
        self.observers.session_start(caller, source);
        let guard = SessionGuard::new(subscription.id(), move || {
            let reason = subscription.outbox().close_code().unwrap_or(CloseCode::Normal);
            drop(expiry);
            drop(subscription);
            self.presence.changed(caller.user);
            self.observers.session_end(caller, reason);
        });
        Ok(AttachedSession::new(guard, conversations).with_more(has_more))
    }

    /// Returns the row of a device.
    ///
    /// # Errors
    /// The login has ended, a newer one of the device has replaced it, or the store cannot be read.
    async fn require_epoch(
        &self,
        caller: Caller,
        device: DeviceId,
        epoch: SessionEpoch,
    ) -> Result<Device, CommandError> {
        let access = &self.access;
        let row = access.read(access.store().device(caller.user, device)).await?;
        match row.filter(|row| row.session_epoch == epoch) {
            Some(row) => Ok(row),
            None => {
                check_caller(access, caller).await?;
                Err(CommandError::fenced(CloseCode::Replaced))
            }
        }
    }

    /// Ends the session of a login, and older sessions of the device, at `time`, unless the
    /// returned guard is dropped or the engine drains earlier.
    fn end_at(&self, time: Timestamp, user: UserId, device: DeviceId, epoch: SessionEpoch) -> DropGuard {
        let remaining = time.0.saturating_sub(self.access.wall_time().0);
        let remaining = Duration::from_millis(u64::try_from(remaining).unwrap_or(0));
        let dropped = CancellationToken::new();
        let guard = dropped.clone().drop_guard();
        let router = self.router.clone();
        let draining = self.lifecycle.draining().clone();
        self.lifecycle.spawn_worker("session expiry", async move {
            tokio::select! {
                () = tokio::time::sleep(remaining) => {
                    let this_and_older = SessionSelector::OlderThan(device, SessionEpoch(epoch.0 + 1));
                    router.close_sessions(user, this_and_older, CloseCode::Revoked);
                }
                () = dropped.cancelled() => {}
                () = draining.cancelled() => {}
            }
        });
        guard
    }
}
