//! Lists of the sessions on this node, and numbers of rows in the store.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::Operator;
use super::accounts::MAX_PAGE;
use crate::engine::error::CommandError;
use crate::model::{DeviceId, PresenceState, SessionId, Source, Timestamp, UserId, UserRef};
use crate::router::SessionHandle;
use crate::store::StoreStats;

/// A session on this node, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SessionListing {
    /// Id of the session on this node.
    #[cfg_attr(feature = "serde", serde(rename = "session"))]
    pub id: SessionId,
    /// Id of the user.
    pub user: UserId,
    /// Unique name of the user; `None` if the store does not contain the account.
    pub name: Option<String>,
    /// Device of the session. Never `None`, because a caller without a device cannot start a
    /// session.
    pub device: Option<DeviceId>,
    /// Presence that the session reports.
    pub state: PresenceState,
    /// Address of the client; `None` for a session of this process.
    pub address: Option<IpAddr>,
    /// Time when the session started on this node.
    #[cfg_attr(feature = "serde", serde(rename = "started_ms"))]
    pub started: Timestamp,
}

/// A page of sessions, ordered by id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SessionListPage {
    /// Sessions of the page. May be empty although more follow, because sessions that are just
    /// starting are left out.
    pub sessions: Vec<SessionListing>,
    /// Id after which the next page starts; absent on the last page.
    pub next: Option<SessionId>,
}

impl Operator {
    /// Returns up to `limit` sessions (1 to 500) on this node whose id is greater than `after`,
    /// without those that are just starting. The first page starts after `SessionId(0)`. In a
    /// cluster, each node knows only its own sessions.
    ///
    /// # Errors
    /// [`CommandError`]: the store failed.
    pub async fn list_sessions(&self, after: SessionId, limit: u32) -> Result<SessionListPage, CommandError> {
        let limit = limit.clamp(1, MAX_PAGE) as usize;
        let sessions = self.parts.router.sessions_after(after, limit);
        let is_full = sessions.len() >= limit;
        let next = sessions.last().filter(|_| is_full).map(|last| last.id);
        let sessions = self.listings(&sessions).await?;
        Ok(SessionListPage { sessions, next })
    }

    /// Returns the sessions of a user on this node, ordered by id, without those that are just
    /// starting.
    ///
    /// # Errors
    /// [`CommandError`]. `NotFound`: there is no such account.
    pub async fn sessions_of(&self, user: impl Into<UserRef>) -> Result<Vec<SessionListing>, CommandError> {
        let user = self.find_user(&user.into()).await?;
        let mut sessions = self.parts.router.sessions_of(user);
        sessions.sort_by_key(|session| session.id);
        self.listings(&sessions).await
    }

    /// Counts the rows of the store. Reads all accounts, devices and conversations.
    ///
    /// # Errors
    /// [`CommandError`]: the store failed.
    pub async fn store_stats(&self) -> Result<StoreStats, CommandError> {
        let access = &self.parts.access;
        access.read(access.store().stats()).await
    }

    /// Describes these sessions, without those that are just starting.
    async fn listings(&self, sessions: &[Arc<SessionHandle>]) -> Result<Vec<SessionListing>, CommandError> {
        let access = &self.parts.access;
        let mut users: Vec<UserId> = sessions.iter().map(|session| session.caller.user).collect();
        users.sort_unstable();
        users.dedup();
        let accounts = access.read(access.store().accounts(&users)).await?;
        let names: HashMap<UserId, String> = accounts.into_iter().map(|account| (account.id, account.name)).collect();
        let listed = sessions.iter().map(|session| listing(session, &names));
        // A session whose start is not recorded yet is left out: it has just been added, and may
        // still be refused.
        Ok(listed.flatten().collect())
    }
}

fn listing(session: &SessionHandle, names: &HashMap<UserId, String>) -> Option<SessionListing> {
    let (source, started) = *session.start.get()?;
    Some(SessionListing {
        id: session.id,
        user: session.caller.user,
        name: names.get(&session.caller.user).cloned(),
        device: session.caller.device(),
        state: session.presence(),
        address: match source {
            Source::Ip(address) => Some(address),
            Source::Local => None,
        },
        started,
    })
}
