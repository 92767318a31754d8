//! [`FaultyStore`]: a store with one deliberate fault.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use chat_core::codec::body;
use chat_core::model::{
    Account, ClientMessageId, ClusterKey, Contact, Conversation, ConversationId, ConversationKind, Device, DeviceId,
    Event, EventBody, Member, NodeId, Page, Seq, SessionEpoch, StoreEpoch, Timestamp, UserId,
};
use chat_core::store::{
    AccountStore, AuditPage, AuditRecord, ContactStore, ConversationStore, CursorStore, EventPage, FeedBacklog,
    FeedLease, FeedPosition, FeedShard, FeedStore, Heartbeat, ListedGroup, LogVersion, MembershipView, MessageStore,
    NamedGroup, OperatorStore, SentEvent, Store, StoreError, StoreStats, Transaction, TxError, Unit, UserChange,
};

use chat_core::sync::{Mutex, MutexGuard};

use crate::fault::{ActiveFault, Fault};
use crate::transaction::FaultyTransaction;

/// With [`Fault::AckUnwritten`], every `UNWRITTEN_PERIOD`th successful transaction with messages is
/// rolled back, though acknowledged.
const UNWRITTEN_PERIOD: u32 = 50;
/// With [`Fault::PushAltered`], every `PUSH_PERIOD`th event that the node reads in order to deliver
/// it gets another text, if it is a message.
const PUSH_PERIOD: u32 = 50;
/// [`Fault::PageAltered`] and [`Fault::PageForged`] falsify every `PAGE_PERIOD`th event that pages
/// contain; `PageAltered` only if it is a message.
const PAGE_PERIOD: u32 = 200;
/// Offset added to the id of a removed user. No user has the resulting id, so the node keeps
/// delivering to the removed user.
const REMOVED_USER_OFFSET: u64 = 1_000_000;

/// Wrapper of the store that the nodes share. It causes one [`Fault`], or none.
#[derive(Debug)]
pub(crate) struct FaultyStore {
    inner: Arc<dyn Store>,
    state: Arc<State>,
}

/// State that a [`FaultyStore`] shares with its transactions.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) active_fault: ActiveFault,
    /// Session epoch that this node last stored for each device, usually at a login; used by
    /// [`Fault::FenceOpen`].
    session_epochs: Mutex<HashMap<(UserId, DeviceId), SessionEpoch>>,
}

impl State {
    fn session_epochs(&self) -> MutexGuard<'_, HashMap<(UserId, DeviceId), SessionEpoch>> {
        self.session_epochs.lock()
    }

    /// Records the session epoch of a device that this node stores, if the fault needs it.
    pub(crate) fn record_session_epoch(&self, device: &Device) {
        if self.active_fault.is(Fault::FenceOpen) {
            self.session_epochs()
                .insert((device.user, device.id), device.session_epoch);
        }
    }

    /// Replaces the session epochs of devices by those that this node last stored, as if no other
    /// node had given the devices to new sessions. Changes nothing unless the fault is
    /// [`Fault::FenceOpen`]: epochs are recorded only for that fault.
    pub(crate) fn hide_takeovers(&self, devices: &mut [Device]) {
        let session_epochs = self.session_epochs();
        for device in devices {
            if let Some(epoch) = session_epochs.get(&(device.user, device.id)) {
                device.session_epoch = *epoch;
            }
        }
    }
}

impl FaultyStore {
    /// Wraps `inner`. The wrapper causes `fault`, or no fault.
    pub(crate) fn new(inner: Arc<dyn Store>, fault: Option<Fault>) -> Self {
        let state = State {
            active_fault: ActiveFault::new(fault),
            session_epochs: Mutex::default(),
        };
        Self {
            inner,
            state: Arc::new(state),
        }
    }

    /// Falsifies a page that a client requested, as the fault demands.
    fn corrupt_page(&self, page: &mut EventPage) {
        let active_fault = &self.state.active_fault;
        for event in &mut page.events {
            if active_fault.strikes(Fault::PageAltered, PAGE_PERIOD) {
                replace_text(event);
            }
            if active_fault.strikes(Fault::PageForged, PAGE_PERIOD) {
                event.sender = UserId(event.sender.0 + 1);
            }
        }
        if active_fault.is(Fault::PageShort) {
            // Removes one event in fifty.
            page.events.retain(|event| event.seq.0 % 50 != 49);
        }
    }

    /// Falsifies events that the node reads in order to deliver them, as the fault demands. These
    /// are mainly events that other nodes have committed.
    fn corrupt_pushes(&self, events: &mut Vec<Event>) {
        let active_fault = &self.state.active_fault;
        for event in events.iter_mut() {
            if active_fault.strikes(Fault::PushAltered, PUSH_PERIOD) {
                replace_text(event);
            }
            if active_fault.is(Fault::RemovedReceives) {
                replace_removed_user(event);
            }
        }
        if active_fault.is(Fault::RemoteDropped) {
            events.clear();
        }
    }
}

/// Replaces the text of an event, if it is a message.
fn replace_text(event: &mut Event) {
    if let Ok(EventBody::Message(mut message)) = body::decode(event.kind, &event.body) {
        message.text = "this was never said".to_owned();
        event.body = body::encode(&EventBody::Message(message));
    }
}

/// Replaces the user in an event by which a member was removed from a group; leaves other events.
fn replace_removed_user(event: &mut Event) {
    if let Ok(EventBody::MemberKicked { user, banned }) = body::decode(event.kind, &event.body) {
        let user = UserId(user.0 + REMOVED_USER_OFFSET);
        event.body = body::encode(&EventBody::MemberKicked { user, banned });
    }
}

/// A unit that runs on a [`FaultyTransaction`].
#[derive(Debug)]
struct FaultyUnit {
    /// Shared, so that the store can run the unit a second time.
    unit: Arc<tokio::sync::Mutex<Box<dyn Unit>>>,
    state: Arc<State>,
    /// True if users who left a group, or were removed from it, count as its members.
    falsifies_members: bool,
    outcome: Arc<Outcome>,
}

/// Effects of the last run of a unit, in addition to its result.
#[derive(Debug, Default)]
struct Outcome {
    /// True if the unit succeeded, but was rolled back. The caller of the store gets `Ok` all the
    /// same.
    is_lost: AtomicBool,
    /// True if the unit was rolled back, and must run again without falsified members.
    must_repeat: AtomicBool,
}

#[async_trait]
impl Unit for FaultyUnit {
    async fn run(&mut self, tx: &mut dyn Transaction) -> Result<(), TxError> {
        let mut tx = FaultyTransaction::new(tx, &self.state, self.falsifies_members);
        let result = self.unit.lock().await.run(&mut tx).await;
        // Members are falsified only for units that append messages, so that a removed user can
        // join again.
        let must_repeat = tx.has_falsified_members && !tx.has_messages;
        let is_lost =
            result.is_ok() && tx.has_messages && self.state.active_fault.strikes(Fault::AckUnwritten, UNWRITTEN_PERIOD);
        self.outcome.must_repeat.store(must_repeat, Ordering::Relaxed);
        self.outcome.is_lost.store(is_lost, Ordering::Relaxed);
        if must_repeat || is_lost {
            return Err(TxError::Abort);
        }
        result
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for FaultyStore {
    async fn transact(&self, unit: Box<dyn Unit>) -> Result<(), StoreError> {
        let unit = Arc::new(tokio::sync::Mutex::new(unit));
        let outcome = Arc::new(Outcome::default());
        let attempt = |falsifies_members| {
            self.inner.transact(Box::new(FaultyUnit {
                unit: Arc::clone(&unit),
                state: Arc::clone(&self.state),
                falsifies_members,
                outcome: Arc::clone(&outcome),
            }))
        };
        let result = attempt(self.state.active_fault.is(Fault::RemovedSends)).await;
        match result {
            Err(StoreError::Aborted) if outcome.must_repeat.load(Ordering::Relaxed) => attempt(false).await,
            Err(StoreError::Aborted) if outcome.is_lost.load(Ordering::Relaxed) => Ok(()),
            result => result,
        }
    }

    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        self.inner.epoch().await
    }

    async fn cluster_key(&self) -> Result<ClusterKey, StoreError> {
        self.inner.cluster_key().await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }

    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.inner.time().await
    }

    async fn newest_event_time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.inner.newest_event_time().await
    }

    async fn heartbeat(&self, node: NodeId) -> Result<Heartbeat, StoreError> {
        self.inner.heartbeat(node).await
    }

    async fn changed_users(&self) -> Result<Option<Vec<UserChange>>, StoreError> {
        self.inner.changed_users().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl AccountStore for FaultyStore {
    async fn account(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        self.inner.account(id).await
    }

    async fn account_by_name(&self, name: &str) -> Result<Option<Account>, StoreError> {
        self.inner.account_by_name(name).await
    }

    async fn account_by_subject(&self, subject: &str) -> Result<Option<Account>, StoreError> {
        self.inner.account_by_subject(subject).await
    }

    async fn accounts(&self, ids: &[UserId]) -> Result<Vec<Account>, StoreError> {
        self.inner.accounts(ids).await
    }

    async fn search_accounts(&self, prefix: &str, limit: u32) -> Result<Vec<Account>, StoreError> {
        self.inner.search_accounts(prefix, limit).await
    }

    async fn device(&self, user: UserId, device: DeviceId) -> Result<Option<Device>, StoreError> {
        self.inner.device(user, device).await
    }

    async fn devices(&self, user: UserId) -> Result<Vec<Device>, StoreError> {
        let mut devices = self.inner.devices(user).await?;
        self.state.hide_takeovers(&mut devices);
        Ok(devices)
    }

    async fn devices_in(&self, devices: &[(UserId, DeviceId)]) -> Result<Vec<Device>, StoreError> {
        let mut devices = self.inner.devices_in(devices).await?;
        self.state.hide_takeovers(&mut devices);
        Ok(devices)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ContactStore for FaultyStore {
    async fn contact(&self, owner: UserId, peer: UserId) -> Result<Option<Contact>, StoreError> {
        self.inner.contact(owner, peer).await
    }

    async fn contacts(&self, owner: UserId, after: UserId, limit: u32) -> Result<Vec<Contact>, StoreError> {
        self.inner.contacts(owner, after, limit).await
    }

    async fn contacts_between(&self, user: UserId, peers: &[UserId]) -> Result<Vec<Contact>, StoreError> {
        self.inner.contacts_between(user, peers).await
    }

    async fn related_users(&self, user: UserId, after: UserId, limit: u32) -> Result<Vec<UserId>, StoreError> {
        self.inner.related_users(user, after, limit).await
    }

    async fn friends(&self, owner: UserId) -> Result<Vec<UserId>, StoreError> {
        self.inner.friends(owner).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ConversationStore for FaultyStore {
    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        self.inner.conversation(id).await
    }

    async fn conversation_of_kind(&self, kind: &ConversationKind) -> Result<Option<ConversationId>, StoreError> {
        self.inner.conversation_of_kind(kind).await
    }

    async fn group_by_key(&self, key: &str) -> Result<Option<ConversationId>, StoreError> {
        self.inner.group_by_key(key).await
    }

    async fn named_group(&self, key: &str, user: UserId) -> Result<Option<NamedGroup>, StoreError> {
        self.inner.named_group(key, user).await
    }

    async fn search_groups(&self, prefix: &str, limit: u32) -> Result<Vec<Conversation>, StoreError> {
        self.inner.search_groups(prefix, limit).await
    }

    async fn memberships(
        &self,
        user: UserId,
        device: DeviceId,
        after: ConversationId,
        limit: u32,
    ) -> Result<Vec<MembershipView>, StoreError> {
        self.inner.memberships(user, device, after, limit).await
    }

    async fn membership(
        &self,
        user: UserId,
        device: DeviceId,
        id: ConversationId,
    ) -> Result<Option<MembershipView>, StoreError> {
        self.inner.membership(user, device, id).await
    }

    async fn member(&self, id: ConversationId, user: UserId) -> Result<Option<Member>, StoreError> {
        self.inner.member(id, user).await
    }

    async fn members(&self, id: ConversationId, after: UserId, limit: u32) -> Result<Vec<Member>, StoreError> {
        self.inner.members(id, after, limit).await
    }

    async fn members_of_user(
        &self,
        user: UserId,
        after: ConversationId,
        limit: u32,
    ) -> Result<Vec<Member>, StoreError> {
        self.inner.members_of_user(user, after, limit).await
    }

    async fn log_versions(&self, ids: &[ConversationId]) -> Result<Vec<LogVersion>, StoreError> {
        self.inner.log_versions(ids).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl MessageStore for FaultyStore {
    async fn events_for(
        &self,
        reader: UserId,
        conversation: ConversationId,
        page: Page,
    ) -> Result<Option<EventPage>, StoreError> {
        let mut page = self.inner.events_for(reader, conversation, page).await?;
        if let Some(page) = &mut page {
            self.corrupt_page(page);
        }
        Ok(page)
    }

    async fn events(
        &self,
        conversation: ConversationId,
        first: Seq,
        last: Seq,
        max_events: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let mut events = self.inner.events(conversation, first, last, max_events).await?;
        self.corrupt_pushes(&mut events);
        Ok(events)
    }

    async fn events_at(&self, conversation: ConversationId, seqs: &[Seq]) -> Result<Vec<Event>, StoreError> {
        self.inner.events_at(conversation, seqs).await
    }

    async fn events_by_sender(
        &self,
        conversation: ConversationId,
        sender: UserId,
        first: Seq,
        last: Seq,
    ) -> Result<Vec<Event>, StoreError> {
        self.inner.events_by_sender(conversation, sender, first, last).await
    }

    async fn find_sent(&self, sender: UserId, ids: &[ClientMessageId]) -> Result<Vec<SentEvent>, StoreError> {
        self.inner.find_sent(sender, ids).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CursorStore for FaultyStore {
    async fn advance_cursors(&self, moves: &[(UserId, DeviceId, ConversationId, Seq)]) -> Result<(), StoreError> {
        self.inner.advance_cursors(moves).await
    }

    async fn advance_reads(&self, moves: &[(UserId, ConversationId, Seq)]) -> Result<(), StoreError> {
        self.inner.advance_reads(moves).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl FeedStore for FaultyStore {
    async fn feed_positions(
        &self,
        feed: &str,
        conversations: &[ConversationId],
    ) -> Result<Vec<FeedPosition>, StoreError> {
        self.inner.feed_positions(feed, conversations).await
    }

    async fn feed_backlog(
        &self,
        feed: &str,
        shards: &[FeedShard],
        after: ConversationId,
        limit: u32,
    ) -> Result<FeedBacklog, StoreError> {
        self.inner.feed_backlog(feed, shards, after, limit).await
    }

    async fn feed_leases(&self, feed: &str) -> Result<Vec<FeedLease>, StoreError> {
        self.inner.feed_leases(feed).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl OperatorStore for FaultyStore {
    async fn list_accounts(&self, prefix: &str, after: &str, limit: u32) -> Result<Vec<Account>, StoreError> {
        self.inner.list_accounts(prefix, after, limit).await
    }

    async fn list_groups(&self, after: ConversationId, limit: u32) -> Result<Vec<ListedGroup>, StoreError> {
        self.inner.list_groups(after, limit).await
    }

    async fn stats(&self) -> Result<StoreStats, StoreError> {
        self.inner.stats().await
    }

    async fn audit_log(&self, page: AuditPage, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        self.inner.audit_log(page, limit).await
    }
}
