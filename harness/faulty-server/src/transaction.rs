//! [`FaultyTransaction`]: a transaction that falsifies writes and reads.

use std::collections::HashSet;

use async_trait::async_trait;
use bytes::Bytes;
use chat_core::model::{
    Account, ClientMessageId, Contact, Conversation, ConversationId, ConversationKind, Device, DeviceId, Event,
    EventId, EventKind, GroupSnapshot, Member, MemberState, Role, Seq, Timestamp, UserId,
};
use chat_core::store::{
    AccountTx, AuditId, AuditTx, ContactTx, ConversationTx, FeedLease, FeedShard, FeedTx, MessageTx, NewAccount,
    NewAuditRecord, NewConversation, RequestNotice, RequestNoticeTx, SentEvent, StoreError, Transaction,
};

use crate::fault::Fault;
use crate::store::State;

/// [`Fault::TimeBack`] and [`Fault::AckOtherEvent`] falsify every `MESSAGE_PERIOD`th message before
/// it is stored. [`Fault::StoredTwice`] adds a copy of every `MESSAGE_PERIOD`th message that is the
/// last event of an insertion.
const MESSAGE_PERIOD: u32 = 50;
/// Milliseconds that [`Fault::TimeBack`] subtracts from the time of a message.
const TIME_BACK_MS: i64 = 60_000;

/// Wrapper of a transaction of the real store. It falsifies writes or reads as the fault of this
/// process requires.
#[derive(Debug)]
pub(crate) struct FaultyTransaction<'a> {
    inner: &'a mut dyn Transaction,
    state: &'a State,
    /// True if reads of members are falsified: users who left or were removed count as members.
    falsifies_members: bool,
    /// True after a falsified member was returned.
    pub(crate) has_falsified_members: bool,
    /// True after a message was written.
    pub(crate) has_messages: bool,
    /// Conversations to whose log a copy of a message was added. The engine does not know of the
    /// copy, so `update_conversation` has to count it.
    lengthened: HashSet<ConversationId>,
}

impl<'a> FaultyTransaction<'a> {
    pub(crate) fn new(inner: &'a mut dyn Transaction, state: &'a State, falsifies_members: bool) -> Self {
        Self {
            inner,
            state,
            falsifies_members,
            has_falsified_members: false,
            has_messages: false,
            lengthened: HashSet::new(),
        }
    }

    /// Falsifies messages among `events`, or adds a copy of the last one, as the fault demands,
    /// before `events` are inserted into the log. Sets `has_messages` if there are messages.
    fn corrupt(&mut self, events: &mut Vec<Event>) {
        let active_fault = &self.state.active_fault;
        let is_message = |event: &Event| event.kind == EventKind::Message;
        for event in events.iter_mut().filter(|event| is_message(event)) {
            self.has_messages = true;
            if active_fault.is(Fault::KeyReplaced) {
                event.client_message_id = Some(ClientMessageId::random());
            }
            if active_fault.strikes(Fault::TimeBack, MESSAGE_PERIOD) {
                event.time.0 -= TIME_BACK_MS;
            }
            if active_fault.strikes(Fault::AckOtherEvent, MESSAGE_PERIOD) {
                event.id = EventId::random();
            }
        }
        if let Some(last) = events.last().filter(|last| is_message(last)).cloned()
            && active_fault.strikes(Fault::StoredTwice, MESSAGE_PERIOD)
        {
            self.lengthened.insert(last.conversation);
            let mut copy = last.clone();
            copy.seq = last.seq.next();
            copy.id = EventId::random();
            copy.client_message_id = None;
            copy.fingerprint = 0;
            copy.time = Timestamp(last.time.0 + 1);
            copy.message_count += 1;
            events.push(copy);
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl AccountTx for FaultyTransaction<'_> {
    async fn create_account(&mut self, account: NewAccount) -> Result<Option<UserId>, StoreError> {
        self.inner.create_account(account).await
    }

    async fn account(&mut self, id: UserId) -> Result<Option<Account>, StoreError> {
        self.inner.account(id).await
    }

    async fn account_by_name(&mut self, name: &str) -> Result<Option<Account>, StoreError> {
        self.inner.account_by_name(name).await
    }

    async fn account_by_subject(&mut self, subject: &str) -> Result<Option<Account>, StoreError> {
        self.inner.account_by_subject(subject).await
    }

    async fn update_account(&mut self, account: &Account) -> Result<(), StoreError> {
        self.inner.update_account(account).await
    }

    async fn rename_account(&mut self, id: UserId, name: &str, skeleton: &str) -> Result<bool, StoreError> {
        self.inner.rename_account(id, name, skeleton).await
    }

    async fn set_subject(&mut self, id: UserId, subject: Option<&str>) -> Result<bool, StoreError> {
        self.inner.set_subject(id, subject).await
    }

    async fn lock_device(&mut self, user: UserId, device: DeviceId) -> Result<Option<Device>, StoreError> {
        self.inner.lock_device(user, device).await
    }

    async fn devices_in(&mut self, devices: &[(UserId, DeviceId)]) -> Result<Vec<Device>, StoreError> {
        let mut devices = self.inner.devices_in(devices).await?;
        self.state.hide_takeovers(&mut devices);
        Ok(devices)
    }

    async fn lock_devices_of(&mut self, user: UserId) -> Result<Vec<Device>, StoreError> {
        self.inner.lock_devices_of(user).await
    }

    async fn put_device(&mut self, device: &Device) -> Result<(), StoreError> {
        self.state.record_session_epoch(device);
        self.inner.put_device(device).await
    }

    async fn delete_device(&mut self, user: UserId, device: DeviceId) -> Result<(), StoreError> {
        self.inner.delete_device(user, device).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ContactTx for FaultyTransaction<'_> {
    async fn lock_contacts(&mut self, a: UserId, b: UserId) -> Result<(Option<Contact>, Option<Contact>), StoreError> {
        self.inner.lock_contacts(a, b).await
    }

    async fn put_contact(&mut self, contact: &Contact) -> Result<(), StoreError> {
        self.inner.put_contact(contact).await
    }

    async fn delete_contact(&mut self, owner: UserId, peer: UserId) -> Result<(), StoreError> {
        self.inner.delete_contact(owner, peer).await
    }

    async fn requests_since(&mut self, owner: UserId, since: Timestamp) -> Result<u32, StoreError> {
        self.inner.requests_since(owner, since).await
    }

    async fn blocked_count(&mut self, owner: UserId) -> Result<u32, StoreError> {
        self.inner.blocked_count(owner).await
    }

    async fn incoming_request_count(&mut self, owner: UserId, max: u32) -> Result<u32, StoreError> {
        self.inner.incoming_request_count(owner, max).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl RequestNoticeTx for FaultyTransaction<'_> {
    async fn record_request_notice(
        &mut self,
        notice: RequestNotice,
        now: Timestamp,
        since: Timestamp,
    ) -> Result<bool, StoreError> {
        self.inner.record_request_notice(notice, now, since).await
    }

    async fn delete_request_notice(&mut self, notice: RequestNotice) -> Result<(), StoreError> {
        self.inner.delete_request_notice(notice).await
    }

    async fn delete_request_notices(&mut self, inbox: ConversationId) -> Result<(), StoreError> {
        self.inner.delete_request_notices(inbox).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ConversationTx for FaultyTransaction<'_> {
    async fn create_conversation(&mut self, new: NewConversation) -> Result<Option<ConversationId>, StoreError> {
        self.inner.create_conversation(new).await
    }

    async fn conversation_of_kind(&mut self, kind: &ConversationKind) -> Result<Option<ConversationId>, StoreError> {
        self.inner.conversation_of_kind(kind).await
    }

    async fn lock_conversation(&mut self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        self.inner.lock_conversation(id).await
    }

    async fn update_conversation(&mut self, conversation: &Conversation) -> Result<bool, StoreError> {
        let mut conversation = conversation.clone();
        if self.lengthened.remove(&conversation.id) {
            conversation.last_seq = conversation.last_seq.next();
            conversation.last_time.0 += 1;
            conversation.message_count += 1;
        }
        self.inner.update_conversation(&conversation).await
    }

    async fn members_in(&mut self, id: ConversationId, users: &[UserId]) -> Result<Vec<Member>, StoreError> {
        let mut members = self.inner.members_in(id, users).await?;
        if self.falsifies_members {
            for member in members.iter_mut().filter(|member| member.state == MemberState::Left) {
                member.state = MemberState::Active;
                self.has_falsified_members = true;
            }
        }
        Ok(members)
    }

    async fn members_with_role(&mut self, id: ConversationId, role: Role) -> Result<Vec<Member>, StoreError> {
        self.inner.members_with_role(id, role).await
    }

    async fn members_by_seniority(&mut self, id: ConversationId, limit: u32) -> Result<Vec<Member>, StoreError> {
        self.inner.members_by_seniority(id, limit).await
    }

    async fn put_member(&mut self, member: &Member) -> Result<(), StoreError> {
        self.inner.put_member(member).await
    }

    async fn put_snapshot(
        &mut self,
        id: ConversationId,
        user: UserId,
        snapshot: &GroupSnapshot,
    ) -> Result<(), StoreError> {
        self.inner.put_snapshot(id, user, snapshot).await
    }

    async fn advance_read(&mut self, id: ConversationId, reads: &[(UserId, Seq)]) -> Result<(), StoreError> {
        self.inner.advance_read(id, reads).await
    }

    async fn group_count(&mut self, user: UserId, max: u32) -> Result<u32, StoreError> {
        self.inner.group_count(user, max).await
    }

    async fn former_group_count(&mut self, user: UserId, max: u32) -> Result<u32, StoreError> {
        self.inner.former_group_count(user, max).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl MessageTx for FaultyTransaction<'_> {
    async fn find_sent(&mut self, ids: &[(UserId, ClientMessageId)]) -> Result<Vec<SentEvent>, StoreError> {
        let mut sent = self.inner.find_sent(ids).await?;
        for found in &mut sent {
            if self.state.active_fault.is(Fault::AckMoved) {
                found.event.seq = found.event.seq.next();
            }
            // With another fingerprint, the engine takes the repeated message for a different
            // message with the same key, and refuses it.
            if self.state.active_fault.is(Fault::StoredRefused) {
                found.event.fingerprint = !found.event.fingerprint;
            }
        }
        Ok(sent)
    }

    async fn events_at(&mut self, conversation: ConversationId, seqs: &[Seq]) -> Result<Vec<Event>, StoreError> {
        self.inner.events_at(conversation, seqs).await
    }

    async fn insert_events(&mut self, events: &[Event]) -> Result<(), StoreError> {
        let mut events = events.to_vec();
        self.corrupt(&mut events);
        self.inner.insert_events(&events).await
    }

    async fn mark_edited(&mut self, conversation: ConversationId, target: Seq, edit: Seq) -> Result<(), StoreError> {
        self.inner.mark_edited(conversation, target, edit).await
    }

    async fn erase(
        &mut self,
        conversation: ConversationId,
        target: Seq,
        recall: Seq,
        tombstone: Bytes,
        edit_tombstone: Bytes,
    ) -> Result<(), StoreError> {
        self.inner
            .erase(conversation, target, recall, tombstone, edit_tombstone)
            .await
    }

    async fn put_mentions(
        &mut self,
        conversation: ConversationId,
        seq: Seq,
        users: &[UserId],
    ) -> Result<(), StoreError> {
        self.inner.put_mentions(conversation, seq, users).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl FeedTx for FaultyTransaction<'_> {
    async fn lock_feed_shard(
        &mut self,
        feed: &str,
        shard: FeedShard,
    ) -> Result<(Option<FeedLease>, Timestamp), StoreError> {
        self.inner.lock_feed_shard(feed, shard).await
    }

    async fn put_feed_lease(&mut self, lease: &FeedLease) -> Result<(), StoreError> {
        self.inner.put_feed_lease(lease).await
    }

    async fn advance_feed_cursors(&mut self, feed: &str, moves: &[(ConversationId, Seq)]) -> Result<(), StoreError> {
        self.inner.advance_feed_cursors(feed, moves).await
    }

    async fn delete_feed(&mut self, feed: &str) -> Result<(), StoreError> {
        self.inner.delete_feed(feed).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl AuditTx for FaultyTransaction<'_> {
    async fn append_audit(&mut self, record: &NewAuditRecord) -> Result<AuditId, StoreError> {
        self.inner.append_audit(record).await
    }
}
