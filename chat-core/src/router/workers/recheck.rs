//! Rechecks users: ends sessions whose login is no longer valid, and finds conversations that users
//! have joined.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::model::{CloseCode, ConversationId, DeviceId, UserId};
use crate::router::event_log::{DeviceLogin, EventLog};
use crate::router::follow_starter::is_active;
use crate::router::local_delivery::LocalDelivery;
use crate::router::membership_pages::MembershipPages;
use crate::router::registry::Registry;
use crate::router::session::SessionHandle;
use crate::router::work_set::{WorkSet, WorkerOptions};
use crate::store::StoreError;

/// Check that compares the sessions of users with the store, and ends those whose login is no
/// longer valid.
#[derive(Clone, Debug)]
pub(crate) struct SessionCheck {
    pub(crate) registry: Arc<Registry>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) delivery: Arc<LocalDelivery>,
}

impl SessionCheck {
    /// Closes the sessions of these users whose login is no longer valid, with the reason that the
    /// store shows, or with `code` if that is more exact: the store does not tell a logout from a
    /// revocation.
    pub(crate) async fn close_invalid(&self, users: &[UserId], code: CloseCode) -> Result<(), StoreError> {
        // The sessions are taken before the read, so that a session that starts during the read is
        // not compared with an older state.
        let sessions = users.iter().flat_map(|user| self.registry.of_user(*user));
        let sessions: Vec<(DeviceKey, Arc<SessionHandle>)> = sessions.filter_map(with_device).collect();
        if sessions.is_empty() {
            return Ok(());
        }
        let devices: Vec<DeviceKey> = sessions.iter().map(|(device, _)| *device).collect();
        let logins = self.log.logins(&devices).await?;
        let logins: HashMap<DeviceKey, DeviceLogin> = logins
            .into_iter()
            .map(|login| ((login.user, login.device), login))
            .collect();
        let is_invalid = |(device, session): &(DeviceKey, Arc<SessionHandle>)| {
            logins.get(device).map(|login| login.epoch) != session.caller.epoch()
        };
        let invalid: Vec<_> = sessions.into_iter().filter(is_invalid).collect();
        if invalid.is_empty() {
            return Ok(());
        }
        let mut users: Vec<UserId> = invalid.iter().map(|((user, _), _)| *user).collect();
        users.dedup();
        let disabled: HashSet<UserId> = self.log.disabled_users(&users).await?.into_iter().collect();
        for (device, session) in invalid {
            let is_logged_in = logins.get(&device).is_some_and(|login| login.is_logged_in);
            let reason = match CloseCode::of_ended_login(disabled.contains(&device.0), is_logged_in) {
                CloseCode::AccountDisabled => CloseCode::AccountDisabled,
                // A check that no announcement caused passes `Replaced`, because it does not know
                // the reason. `AccountDisabled` is wrong here, because the account is enabled: the
                // change that disabled it was not committed, or was reverted.
                reason if matches!(code, CloseCode::Replaced | CloseCode::AccountDisabled) => reason,
                _ => code,
            };
            self.delivery.close(&session, reason);
        }
        Ok(())
    }
}

/// A user's device.
type DeviceKey = (UserId, DeviceId);

/// Returns the session with its device, or `None` for a session of an application or an operator,
/// which has no device.
fn with_device(session: Arc<SessionHandle>) -> Option<(DeviceKey, Arc<SessionHandle>)> {
    let device = session.caller.device()?;
    Some(((session.caller.user, device), session))
}

/// Worker that rechecks the sessions of users whose logins may have changed, without the pauses of
/// [`UserRecheck`].
#[derive(Debug)]
pub(crate) struct LoginRecheck {
    /// Users, each with the close code for sessions whose login is no longer valid.
    pub(crate) logins: WorkSet<(UserId, CloseCode)>,
    pub(crate) options: WorkerOptions,
    pub(crate) check: SessionCheck,
}

impl LoginRecheck {
    pub(crate) async fn run(self) {
        let recheck = async |(user, code)| self.check.close_invalid(&[user], code).await;
        self.logins.drain_forever(self.options, recheck).await;
    }
}

/// Worker that rechecks the logins and memberships of users for whom an announcement may have been
/// lost, with pauses, so that many checks do not overload the store. One such worker checks the
/// users whose change the store has recorded; another one checks all others that have to be
/// checked, one after the other.
#[derive(Debug)]
pub(crate) struct UserRecheck {
    pub(crate) users: WorkSet<UserId>,
    pub(crate) options: WorkerOptions,
    pub(crate) check: SessionCheck,
    pub(crate) joins: WorkSet<(UserId, ConversationId)>,
    /// Pause after each user whose memberships were read.
    pub(crate) pause: Duration,
}

impl UserRecheck {
    pub(crate) async fn run(self) {
        let recheck = |user| self.recheck(user);
        self.users.drain_forever(self.options, recheck).await;
    }

    async fn recheck(&self, user: UserId) -> Result<(), StoreError> {
        self.check.close_invalid(&[user], CloseCode::Replaced).await?;
        let sessions = self.check.registry.of_user(user);
        let Some(session) = sessions.first() else {
            return Ok(());
        };
        let device = session.caller.device_or_none();
        let mut pages = MembershipPages::new(&*self.check.log, user, device);
        while let Some(page) = pages.next().await? {
            for membership in page.iter().filter(|membership| is_active(membership)) {
                let conversation = membership.conversation.id;
                if sessions.iter().any(|session| session.can_follow(conversation)) {
                    self.joins.add((user, conversation));
                }
            }
        }
        sleep(self.pause).await;
        Ok(())
    }
}
