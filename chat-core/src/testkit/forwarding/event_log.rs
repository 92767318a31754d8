//! [`ForwardingEventLog`]: an event log that is reached through a channel.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use crate::model::{ConversationId, DeviceId, NodeId, Seq, UserId};
use crate::router::{DeviceLogin, EventLog, LogPage, ReadLimit};
use crate::store::{Heartbeat, MembershipView, StoreError, UserChange};

/// Maximum number of calls that wait in the channel.
const MAX_QUEUED: usize = 1024;

/// An [`EventLog`] that sends each call through a channel to another event log, whose answer it
/// receives through a second channel. A router with this event log therefore shares no state with
/// the store, as with a store behind a network. The channels imitate neither the delays of a
/// network nor lost connections.
///
/// The far side is a task that receives the calls, and ends when the last clone of this event log
/// is dropped. It starts a task for each call, so that a slow call does not delay other calls. A
/// call that was sent runs to its end on the far side, even if its future is dropped.
#[derive(Clone, Debug)]
pub struct ForwardingEventLog {
    calls: mpsc::Sender<Call>,
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A call of the [`EventLog`] method with the variant's name, as the far side receives it: the
/// arguments, and the channel for the answer.
#[derive(Debug)]
enum Call {
    Memberships(UserId, DeviceId, ConversationId, u32, Reply<Vec<MembershipView>>),
    Membership(UserId, DeviceId, ConversationId, Reply<Option<MembershipView>>),
    EventsAfter(ConversationId, Seq, ReadLimit, Reply<LogPage>),
    LastSeqs(Vec<ConversationId>, Reply<Vec<(ConversationId, Seq)>>),
    Logins(Vec<(UserId, DeviceId)>, Reply<Vec<DeviceLogin>>),
    DisabledUsers(Vec<UserId>, Reply<Vec<UserId>>),
    ChangedUsers(Reply<Option<Vec<UserChange>>>),
    Heartbeat(NodeId, Reply<Heartbeat>),
}

impl ForwardingEventLog {
    /// Creates an event log that forwards to `inner`, in tasks of the current tokio runtime.
    ///
    /// # Panics
    /// Panics outside of a tokio runtime.
    #[must_use]
    pub fn new(inner: Arc<dyn EventLog>) -> Self {
        let (calls, mut received) = mpsc::channel(MAX_QUEUED);
        tokio::spawn(async move {
            while let Some(call) = received.recv().await {
                tokio::spawn(answer(Arc::clone(&inner), call));
            }
        });
        Self { calls }
    }

    /// Sends a call to the far side and waits for its answer. Fails if the far side drops the
    /// channel for the answer, for example because the call panicked there.
    async fn call<T>(&self, call: impl FnOnce(Reply<T>) -> Call) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let no_answer = || StoreError::unavailable("the far side of the channel did not answer");
        self.calls.send(call(reply)).await.map_err(|_| no_answer())?;
        answer.await.unwrap_or_else(|_| Err(no_answer()))
    }
}

/// Executes a call on the far side. Ignores an answer that its caller no longer waits for.
async fn answer(log: Arc<dyn EventLog>, call: Call) {
    match call {
        Call::Memberships(user, device, after, limit, reply) => {
            let _ = reply.send(log.memberships(user, device, after, limit).await);
        }
        Call::Membership(user, device, conversation, reply) => {
            let _ = reply.send(log.membership(user, device, conversation).await);
        }
        Call::EventsAfter(conversation, after, limit, reply) => {
            let _ = reply.send(log.events_after(conversation, after, limit).await);
        }
        Call::LastSeqs(conversations, reply) => {
            let _ = reply.send(log.last_seqs(&conversations).await);
        }
        Call::Logins(devices, reply) => {
            let _ = reply.send(log.logins(&devices).await);
        }
        Call::DisabledUsers(users, reply) => {
            let _ = reply.send(log.disabled_users(&users).await);
        }
        Call::ChangedUsers(reply) => {
            let _ = reply.send(log.changed_users().await);
        }
        Call::Heartbeat(node, reply) => {
            let _ = reply.send(log.heartbeat(node).await);
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl EventLog for ForwardingEventLog {
    async fn memberships(
        &self,
        user: UserId,
        device: DeviceId,
        after: ConversationId,
        limit: u32,
    ) -> Result<Vec<MembershipView>, StoreError> {
        self.call(|reply| Call::Memberships(user, device, after, limit, reply))
            .await
    }

    async fn membership(
        &self,
        user: UserId,
        device: DeviceId,
        conversation: ConversationId,
    ) -> Result<Option<MembershipView>, StoreError> {
        self.call(|reply| Call::Membership(user, device, conversation, reply))
            .await
    }

    async fn events_after(
        &self,
        conversation: ConversationId,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<LogPage, StoreError> {
        self.call(|reply| Call::EventsAfter(conversation, after, limit, reply))
            .await
    }

    async fn last_seqs(&self, conversations: &[ConversationId]) -> Result<Vec<(ConversationId, Seq)>, StoreError> {
        let conversations = conversations.to_vec();
        self.call(|reply| Call::LastSeqs(conversations, reply)).await
    }

    async fn logins(&self, devices: &[(UserId, DeviceId)]) -> Result<Vec<DeviceLogin>, StoreError> {
        let devices = devices.to_vec();
        self.call(|reply| Call::Logins(devices, reply)).await
    }

    async fn disabled_users(&self, users: &[UserId]) -> Result<Vec<UserId>, StoreError> {
        let users = users.to_vec();
        self.call(|reply| Call::DisabledUsers(users, reply)).await
    }

    async fn changed_users(&self) -> Result<Option<Vec<UserChange>>, StoreError> {
        self.call(Call::ChangedUsers).await
    }

    async fn heartbeat(&self, node: NodeId) -> Result<Heartbeat, StoreError> {
        self.call(|reply| Call::Heartbeat(node, reply)).await
    }
}
