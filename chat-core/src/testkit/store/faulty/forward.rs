//! The store traits of [`FaultyStore`]. Each call but `close` may fail or wait before it reaches
//! the wrapped store. A unit of work may also fail, wait or be rolled back after it has run, and
//! `memberships` may wait after it has read.

use super::*;
use crate::model::ClusterKey;

/// Unit that runs to its end and is then rolled back, with the error of `fault`.
#[derive(Debug)]
struct RolledBackUnit {
    unit: Box<dyn Unit>,
    fault: Fault,
}

#[async_trait]
impl Unit for RolledBackUnit {
    async fn run(&mut self, tx: &mut dyn Transaction) -> Result<(), TxError> {
        self.unit.run(tx).await?;
        Err(TxError::Store(match self.fault {
            Fault::Full => StoreError::Full("injected by a test".into()),
            Fault::Overloaded => StoreError::Overloaded,
            Fault::AlreadySent => StoreError::AlreadySent,
            Fault::Before | Fault::After | Fault::Hang | Fault::HangAfter | Fault::Panic => injected(),
        }))
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for FaultyStore {
    async fn transact(&self, unit: Box<dyn Unit>) -> Result<(), StoreError> {
        let inner = self.enter_unit().await?;
        match self.plan(|plan| plan.commit_faults.pop_front()) {
            None => inner.transact(unit).await,
            Some(Fault::After) => {
                inner.transact(unit).await?;
                Err(injected())
            }
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::HangAfter) => {
                inner.transact(unit).await?;
                std::future::pending().await
            }
            Some(Fault::Panic) => panic!("injected by a test"),
            Some(fault) => inner.transact(Box::new(RolledBackUnit { unit, fault })).await,
        }
    }

    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        self.enter().await?.epoch().await
    }

    async fn cluster_key(&self) -> Result<ClusterKey, StoreError> {
        self.enter().await?.cluster_key().await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.enter().await?.ping().await
    }

    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        let time = self.enter().await?.time().await?;
        Ok(self.plan(|plan| plan.time).or(time))
    }

    async fn newest_event_time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.enter().await?.newest_event_time().await
    }

    async fn heartbeat(&self, node: NodeId) -> Result<Heartbeat, StoreError> {
        let heartbeat = self.enter().await?.heartbeat(node).await?;
        Ok(Heartbeat::new(
            heartbeat.peers,
            self.plan(|plan| plan.time).or(heartbeat.time),
        ))
    }

    async fn changed_users(&self) -> Result<Option<Vec<UserChange>>, StoreError> {
        self.enter().await?.changed_users().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl AccountStore for FaultyStore {
    async fn account(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        self.enter_accounts().await?.account(id).await
    }

    async fn account_by_name(&self, name: &str) -> Result<Option<Account>, StoreError> {
        self.enter_accounts().await?.account_by_name(name).await
    }

    async fn account_by_subject(&self, subject: &str) -> Result<Option<Account>, StoreError> {
        self.enter_accounts().await?.account_by_subject(subject).await
    }

    async fn accounts(&self, ids: &[UserId]) -> Result<Vec<Account>, StoreError> {
        self.enter_accounts().await?.accounts(ids).await
    }

    async fn search_accounts(&self, prefix: &str, limit: u32) -> Result<Vec<Account>, StoreError> {
        self.enter_accounts().await?.search_accounts(prefix, limit).await
    }

    async fn device(&self, user: UserId, device: DeviceId) -> Result<Option<Device>, StoreError> {
        self.enter_accounts().await?.device(user, device).await
    }

    async fn devices(&self, user: UserId) -> Result<Vec<Device>, StoreError> {
        self.enter_accounts().await?.devices(user).await
    }

    async fn devices_in(&self, devices: &[(UserId, DeviceId)]) -> Result<Vec<Device>, StoreError> {
        self.enter_accounts().await?.devices_in(devices).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ContactStore for FaultyStore {
    async fn contact(&self, owner: UserId, peer: UserId) -> Result<Option<Contact>, StoreError> {
        self.enter().await?.contact(owner, peer).await
    }

    async fn contacts(&self, owner: UserId, after: UserId, limit: u32) -> Result<Vec<Contact>, StoreError> {
        self.enter().await?.contacts(owner, after, limit).await
    }

    async fn contacts_between(&self, user: UserId, peers: &[UserId]) -> Result<Vec<Contact>, StoreError> {
        self.enter().await?.contacts_between(user, peers).await
    }

    async fn related_users(&self, user: UserId, after: UserId, limit: u32) -> Result<Vec<UserId>, StoreError> {
        self.enter().await?.related_users(user, after, limit).await
    }

    async fn friends(&self, owner: UserId) -> Result<Vec<UserId>, StoreError> {
        self.enter().await?.friends(owner).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ConversationStore for FaultyStore {
    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        self.enter().await?.conversation(id).await
    }

    async fn conversation_of_kind(&self, kind: &ConversationKind) -> Result<Option<ConversationId>, StoreError> {
        self.enter().await?.conversation_of_kind(kind).await
    }

    async fn group_by_key(&self, key: &str) -> Result<Option<ConversationId>, StoreError> {
        self.enter().await?.group_by_key(key).await
    }

    async fn named_group(&self, key: &str, user: UserId) -> Result<Option<NamedGroup>, StoreError> {
        self.enter().await?.named_group(key, user).await
    }

    async fn search_groups(&self, prefix: &str, limit: u32) -> Result<Vec<Conversation>, StoreError> {
        self.enter().await?.search_groups(prefix, limit).await
    }

    async fn memberships(
        &self,
        user: UserId,
        device: DeviceId,
        after: ConversationId,
        limit: u32,
    ) -> Result<Vec<MembershipView>, StoreError> {
        let store = self.enter().await?;
        let memberships = store.memberships(user, device, after, limit).await;
        // Cannot fail: the sender is in `self`.
        let _ = self.memberships_held.subscribe().wait_for(|held| !held).await;
        memberships
    }

    async fn membership(
        &self,
        user: UserId,
        device: DeviceId,
        id: ConversationId,
    ) -> Result<Option<MembershipView>, StoreError> {
        self.enter().await?.membership(user, device, id).await
    }

    async fn member(&self, id: ConversationId, user: UserId) -> Result<Option<Member>, StoreError> {
        self.enter().await?.member(id, user).await
    }

    async fn members(&self, id: ConversationId, after: UserId, limit: u32) -> Result<Vec<Member>, StoreError> {
        self.enter().await?.members(id, after, limit).await
    }

    async fn members_of_user(
        &self,
        user: UserId,
        after: ConversationId,
        limit: u32,
    ) -> Result<Vec<Member>, StoreError> {
        self.enter().await?.members_of_user(user, after, limit).await
    }

    async fn log_versions(&self, ids: &[ConversationId]) -> Result<Vec<LogVersion>, StoreError> {
        self.enter().await?.log_versions(ids).await
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
        self.enter_log(conversation)
            .await?
            .events_for(reader, conversation, page)
            .await
    }

    async fn events(
        &self,
        conversation: ConversationId,
        first: Seq,
        last: Seq,
        max_events: u32,
    ) -> Result<Vec<Event>, StoreError> {
        self.enter_log(conversation)
            .await?
            .events(conversation, first, last, max_events)
            .await
    }

    async fn events_at(&self, conversation: ConversationId, seqs: &[Seq]) -> Result<Vec<Event>, StoreError> {
        self.enter_log(conversation).await?.events_at(conversation, seqs).await
    }

    async fn events_by_sender(
        &self,
        conversation: ConversationId,
        sender: UserId,
        first: Seq,
        last: Seq,
    ) -> Result<Vec<Event>, StoreError> {
        self.enter_log(conversation)
            .await?
            .events_by_sender(conversation, sender, first, last)
            .await
    }

    async fn find_sent(&self, sender: UserId, ids: &[ClientMessageId]) -> Result<Vec<SentEvent>, StoreError> {
        self.enter().await?.find_sent(sender, ids).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CursorStore for FaultyStore {
    async fn advance_cursors(&self, moves: &[(UserId, DeviceId, ConversationId, Seq)]) -> Result<(), StoreError> {
        let conversations = moves.iter().map(|(_, _, conversation, _)| *conversation);
        self.enter_marks(conversations.collect())
            .await?
            .advance_cursors(moves)
            .await
    }

    async fn advance_reads(&self, moves: &[(UserId, ConversationId, Seq)]) -> Result<(), StoreError> {
        let conversations = moves.iter().map(|(_, conversation, _)| *conversation);
        self.enter_marks(conversations.collect())
            .await?
            .advance_reads(moves)
            .await
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
        self.enter().await?.feed_positions(feed, conversations).await
    }

    async fn feed_backlog(
        &self,
        feed: &str,
        shards: &[FeedShard],
        after: ConversationId,
        limit: u32,
    ) -> Result<FeedBacklog, StoreError> {
        self.enter().await?.feed_backlog(feed, shards, after, limit).await
    }

    async fn feed_leases(&self, feed: &str) -> Result<Vec<FeedLease>, StoreError> {
        self.enter().await?.feed_leases(feed).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl OperatorStore for FaultyStore {
    async fn list_accounts(&self, prefix: &str, after: &str, limit: u32) -> Result<Vec<Account>, StoreError> {
        self.enter().await?.list_accounts(prefix, after, limit).await
    }

    async fn list_groups(&self, after: ConversationId, limit: u32) -> Result<Vec<ListedGroup>, StoreError> {
        self.enter().await?.list_groups(after, limit).await
    }

    async fn stats(&self) -> Result<StoreStats, StoreError> {
        self.enter().await?.stats().await
    }

    async fn audit_log(&self, page: AuditPage, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        self.enter().await?.audit_log(page, limit).await
    }
}
