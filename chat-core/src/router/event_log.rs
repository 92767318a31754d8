//! The router's port to the store. By its reads, a node finds events that other nodes have
//! committed, even if the bus lost the announcements, which are the messages by which nodes report
//! new events to each other.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use crate::model::{ConversationId, Device, DeviceId, Event, NodeId, Seq, SessionEpoch, UserId};
use crate::store::{Heartbeat, MembershipView, Store, StoreError, UserChange};

/// Source of everything that the router reads: memberships, logs, logins and the list of other
/// nodes. The engine's feeds read their events from it too. [`StoreEventLog`] implements it over a
/// [`Store`]; a node without a database could implement it over the network.
///
/// The router reads when a session starts or follows another conversation, when other nodes
/// announce changes, when the outcome of a commit is unknown, and at intervals, because
/// announcements may have been lost. It does not read to deliver events that this node commits, if
/// they are passed to [`Router::committed`](super::Router::committed) in order.
///
/// Every method but `events_after`, which may read a page in several steps, returns one consistent
/// snapshot of committed data. Calls are independent of each other: a slow call must not delay the
/// others.
#[async_trait]
pub trait EventLog: Debug + Send + Sync + 'static {
    /// Returns memberships of `user` in conversations whose events the user may read, including
    /// empty conversations, deleted groups and groups that the user has left, as seen from
    /// `device`: of those with a greater conversation id than `after`, the `limit` ones with the
    /// smallest ids, in any order.
    async fn memberships(
        &self,
        user: UserId,
        device: DeviceId,
        after: ConversationId,
        limit: u32,
    ) -> Result<Vec<MembershipView>, StoreError>;

    /// Returns one of the [`memberships`](EventLog::memberships), or `None` if the user may not
    /// read the conversation.
    async fn membership(
        &self,
        user: UserId,
        device: DeviceId,
        conversation: ConversationId,
    ) -> Result<Option<MembershipView>, StoreError>;

    /// Returns the events of a conversation that follow `after`, up to `limit`, but at least one
    /// unless the log ends at `after`.
    async fn events_after(
        &self,
        conversation: ConversationId,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<LogPage, StoreError>;

    /// Returns the last `Seq` of each of these conversations, in any order. Conversations that do
    /// not exist are left out.
    async fn last_seqs(&self, conversations: &[ConversationId]) -> Result<Vec<(ConversationId, Seq)>, StoreError>;

    /// Returns the latest logins of these devices, in any order. A session is no longer valid if
    /// its device is missing or has another epoch.
    async fn logins(&self, devices: &[(UserId, DeviceId)]) -> Result<Vec<DeviceLogin>, StoreError>;

    /// Returns those of these users whose account is disabled or does not exist. The router calls
    /// this after [`logins`](EventLog::logins), and only if it closes sessions, to give the reason.
    async fn disabled_users(&self, users: &[UserId]) -> Result<Vec<UserId>, StoreError>;

    /// Returns the users whose logins or memberships have changed in the last
    /// [`UserChange::WINDOW`], or `None` if the source does not know them.
    async fn changed_users(&self) -> Result<Option<Vec<UserChange>>, StoreError>;

    /// Records that `node` is alive. Returns the other live nodes, and the store's time. Nodes call
    /// this every few seconds.
    async fn heartbeat(&self, node: NodeId) -> Result<Heartbeat, StoreError>;
}

/// Latest login of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceLogin {
    /// User of the device.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// Epoch of the login.
    pub epoch: SessionEpoch,
    /// True unless this login was ended since, for example by a logout or an operator.
    pub is_logged_in: bool,
}

/// Bounds of one read of a conversation's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// Maximum number of events; zero counts as one.
    pub max_events: u32,
    /// Maximum size of their bodies, in bytes. A first event that is larger is returned alone.
    pub max_bytes: u32,
}

/// Result of one read of a conversation's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    /// Events in ascending order, without gaps.
    pub events: Vec<Event>,
    /// True if the log certainly ended with these events when it was read. If a limit ended the
    /// page, the log may have ended there too.
    pub is_end: bool,
}

/// An [`EventLog`] that reads from a [`Store`].
#[derive(Clone, Debug)]
pub struct StoreEventLog {
    store: Arc<dyn Store>,
}

/// Maximum number of conversations in one call of [`EventLog::last_seqs`] by the router's workers.
pub(crate) const MAX_CONVERSATIONS_PER_QUERY: usize = 1000;

/// Maximum number of events in one query to the store. With bodies of up to 64 KiB, a query returns
/// at most 4 MiB, whatever [`ReadLimit`] the caller has passed.
const MAX_EVENTS_PER_QUERY: u32 = 64;

impl StoreEventLog {
    /// Creates an event log that reads from `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl EventLog for StoreEventLog {
    async fn memberships(
        &self,
        user: UserId,
        device: DeviceId,
        after: ConversationId,
        limit: u32,
    ) -> Result<Vec<MembershipView>, StoreError> {
        self.store.memberships(user, device, after, limit).await
    }

    async fn membership(
        &self,
        user: UserId,
        device: DeviceId,
        conversation: ConversationId,
    ) -> Result<Option<MembershipView>, StoreError> {
        self.store.membership(user, device, conversation).await
    }

    async fn events_after(
        &self,
        conversation: ConversationId,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<LogPage, StoreError> {
        let (max_events, max_bytes) = (limit.max_events.max(1) as usize, limit.max_bytes as usize);
        let (mut events, mut bytes) = (Vec::new(), 0_usize);
        loop {
            let next = events.last().map_or(after, |last: &Event| last.seq).next();
            let wanted = MAX_EVENTS_PER_QUERY.min(u32::try_from(max_events - events.len()).unwrap_or(u32::MAX));
            let queried = self.store.events(conversation, next, MAX_SEQ, wanted).await?;
            let is_end = queried.len() < wanted as usize;
            for event in queried {
                bytes = bytes.saturating_add(event.body.len());
                if bytes > max_bytes && !events.is_empty() {
                    return Ok(LogPage { events, is_end: false });
                }
                events.push(event);
            }
            if is_end || events.len() >= max_events {
                return Ok(LogPage { events, is_end });
            }
        }
    }

    async fn last_seqs(&self, conversations: &[ConversationId]) -> Result<Vec<(ConversationId, Seq)>, StoreError> {
        let ends = self.store.log_versions(conversations).await?;
        Ok(ends.into_iter().map(|end| (end.conversation, end.last_seq)).collect())
    }

    async fn logins(&self, devices: &[(UserId, DeviceId)]) -> Result<Vec<DeviceLogin>, StoreError> {
        let devices = self.store.devices_in(devices).await?;
        let login = |device: Device| DeviceLogin {
            user: device.user,
            device: device.id,
            epoch: device.session_epoch,
            is_logged_in: device.is_logged_in(),
        };
        Ok(devices.into_iter().map(login).collect())
    }

    async fn disabled_users(&self, users: &[UserId]) -> Result<Vec<UserId>, StoreError> {
        let accounts = self.store.accounts(users).await?;
        let enabled = accounts.iter().filter(|account| !account.disabled);
        let enabled: HashSet<UserId> = enabled.map(|account| account.id).collect();
        let disabled = users.iter().copied().filter(|user| !enabled.contains(user));
        Ok(disabled.collect())
    }

    async fn changed_users(&self) -> Result<Option<Vec<UserChange>>, StoreError> {
        self.store.changed_users().await
    }

    async fn heartbeat(&self, node: NodeId) -> Result<Heartbeat, StoreError> {
        self.store.heartbeat(node).await
    }
}

/// Greatest `Seq` that every store can represent.
const MAX_SEQ: Seq = Seq(u64::MAX >> 1);

/// Wrapper of an [`EventLog`] whose calls fail with [`StoreError::Unavailable`] after a timeout.
#[derive(Clone, Debug)]
pub(crate) struct TimeLimited {
    inner: Arc<dyn EventLog>,
    limit: Duration,
}

impl TimeLimited {
    pub(crate) fn new(inner: Arc<dyn EventLog>, limit: Duration) -> Self {
        Self { inner, limit }
    }

    async fn within<T>(&self, read: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let result = timeout(self.limit, read).await;
        result.unwrap_or_else(|_| {
            Err(StoreError::unavailable(format!(
                "the store did not answer within {:?}",
                self.limit
            )))
        })
    }
}

#[async_trait]
impl EventLog for TimeLimited {
    async fn memberships(
        &self,
        user: UserId,
        device: DeviceId,
        after: ConversationId,
        limit: u32,
    ) -> Result<Vec<MembershipView>, StoreError> {
        self.within(self.inner.memberships(user, device, after, limit)).await
    }

    async fn membership(
        &self,
        user: UserId,
        device: DeviceId,
        conversation: ConversationId,
    ) -> Result<Option<MembershipView>, StoreError> {
        self.within(self.inner.membership(user, device, conversation)).await
    }

    async fn events_after(
        &self,
        conversation: ConversationId,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<LogPage, StoreError> {
        self.within(self.inner.events_after(conversation, after, limit)).await
    }

    async fn last_seqs(&self, conversations: &[ConversationId]) -> Result<Vec<(ConversationId, Seq)>, StoreError> {
        self.within(self.inner.last_seqs(conversations)).await
    }

    async fn logins(&self, devices: &[(UserId, DeviceId)]) -> Result<Vec<DeviceLogin>, StoreError> {
        self.within(self.inner.logins(devices)).await
    }

    async fn disabled_users(&self, users: &[UserId]) -> Result<Vec<UserId>, StoreError> {
        self.within(self.inner.disabled_users(users)).await
    }

    async fn changed_users(&self) -> Result<Option<Vec<UserChange>>, StoreError> {
        self.within(self.inner.changed_users()).await
    }

    async fn heartbeat(&self, node: NodeId) -> Result<Heartbeat, StoreError> {
        self.within(self.inner.heartbeat(node)).await
    }
}
