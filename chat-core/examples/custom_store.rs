//! Example of a custom store: a wrapper that counts the commits of another store. It passes the
//! conformance suite, as every store has to. `cargo run -p chat-core --example custom_store` runs
//! the example, and `cargo test -p chat-core --example custom_store` runs the suite.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chat_core::async_trait;
use chat_core::commands::Commands;
use chat_core::engine::Engine;
use chat_core::model::{
    Account, ClientMessageId, ClusterKey, Contact, Conversation, ConversationId, ConversationKind, ConversationRef,
    Device, DeviceId, Event, Member, NodeId, Page, Registration, Secret, Seq, Source, StoreEpoch, Timestamp, UserId,
    UserName,
};
use chat_core::store::{
    AccountStore, AuditPage, AuditRecord, ContactStore, ConversationStore, CursorStore, EventPage, FeedBacklog,
    FeedLease, FeedPosition, FeedShard, FeedStore, Heartbeat, ListedGroup, LogVersion, MembershipView, MemoryStore,
    MessageStore, NamedGroup, OperatorStore, SentEvent, Store, StoreError, StoreStats, Unit, UserChange,
};

/// A store that counts the units of work that its inner store commits.
#[derive(Debug)]
struct CountingStore<S> {
    inner: S,
    commits: AtomicU64,
}

// A wrapper that does not forward a method with a default would change the behaviour of the store.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: Store> Store for CountingStore<S> {
    async fn transact(&self, unit: Box<dyn Unit>) -> Result<(), StoreError> {
        self.inner.transact(unit).await?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
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

/// Implements traits by forwarding each listed method unchanged to the inner store.
macro_rules! forward {
    ($($trait:ident { $(fn $name:ident($($argument:ident: $type:ty),*) -> $output:ty;)* })*) => {
        $(#[async_trait]
        impl<S: Store> $trait for CountingStore<S> {
            $(async fn $name(&self, $($argument: $type),*) -> Result<$output, StoreError> {
                self.inner.$name($($argument),*).await
            })*
        })*
    };
}

forward! {
    AccountStore {
        fn account(id: UserId) -> Option<Account>;
        fn account_by_name(name: &str) -> Option<Account>;
        fn account_by_subject(subject: &str) -> Option<Account>;
        fn accounts(ids: &[UserId]) -> Vec<Account>;
        fn search_accounts(prefix: &str, limit: u32) -> Vec<Account>;
        fn device(user: UserId, device: DeviceId) -> Option<Device>;
        fn devices(user: UserId) -> Vec<Device>;
    }
    ContactStore {
        fn contact(owner: UserId, peer: UserId) -> Option<Contact>;
        fn contacts(owner: UserId, after: UserId, limit: u32) -> Vec<Contact>;
        fn friends(owner: UserId) -> Vec<UserId>;
        fn contacts_between(user: UserId, peers: &[UserId]) -> Vec<Contact>;
        fn related_users(user: UserId, after: UserId, limit: u32) -> Vec<UserId>;
    }
    ConversationStore {
        fn conversation(id: ConversationId) -> Option<Conversation>;
        fn conversation_of_kind(kind: &ConversationKind) -> Option<ConversationId>;
        fn group_by_key(key: &str) -> Option<ConversationId>;
        fn named_group(key: &str, user: UserId) -> Option<NamedGroup>;
        fn search_groups(prefix: &str, limit: u32) -> Vec<Conversation>;
        fn memberships(user: UserId, device: DeviceId, after: ConversationId, limit: u32) -> Vec<MembershipView>;
        fn membership(user: UserId, device: DeviceId, id: ConversationId) -> Option<MembershipView>;
        fn member(id: ConversationId, user: UserId) -> Option<Member>;
        fn members(id: ConversationId, after: UserId, limit: u32) -> Vec<Member>;
        fn members_of_user(user: UserId, after: ConversationId, limit: u32) -> Vec<Member>;
        fn log_versions(ids: &[ConversationId]) -> Vec<LogVersion>;
    }
    MessageStore {
        fn events_for(reader: UserId, conversation: ConversationId, page: Page) -> Option<EventPage>;
        fn events(conversation: ConversationId, first: Seq, last: Seq, max_events: u32) -> Vec<Event>;
        fn events_at(conversation: ConversationId, seqs: &[Seq]) -> Vec<Event>;
        fn events_by_sender(conversation: ConversationId, sender: UserId, first: Seq, last: Seq) -> Vec<Event>;
        fn find_sent(sender: UserId, ids: &[ClientMessageId]) -> Vec<SentEvent>;
    }
    CursorStore {
        fn advance_cursors(moves: &[(UserId, DeviceId, ConversationId, Seq)]) -> ();
        fn advance_reads(moves: &[(UserId, ConversationId, Seq)]) -> ();
    }
    FeedStore {
        fn feed_positions(feed: &str, conversations: &[ConversationId]) -> Vec<FeedPosition>;
        fn feed_backlog(feed: &str, shards: &[FeedShard], after: ConversationId, limit: u32) -> FeedBacklog;
        fn feed_leases(feed: &str) -> Vec<FeedLease>;
    }
    OperatorStore {
        fn list_accounts(prefix: &str, after: &str, limit: u32) -> Vec<Account>;
        fn list_groups(after: ConversationId, limit: u32) -> Vec<ListedGroup>;
        fn stats() -> StoreStats;
        fn audit_log(page: AuditPage, limit: u32) -> Vec<AuditRecord>;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = Arc::new(CountingStore {
        inner: MemoryStore::new(),
        commits: AtomicU64::new(0),
    });
    let engine = Engine::builder(store.clone()).build().await?;
    let name = UserName::parse("alice")?;
    let registration = Registration::new(name, Secret::new("correct horse"));
    let alice = engine.register(Source::Local, registration).await?.id;
    let alice = engine.acting_as(alice);
    alice
        .send_text(ConversationRef::direct(alice.user()), "milk, bread")
        .await?;
    engine.shutdown().await;
    println!("{} commits", store.commits.load(Ordering::Relaxed));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an empty store, and a guard that cleans up after the test: here nothing.
    async fn fresh() -> (CountingStore<MemoryStore>, ()) {
        (
            CountingStore {
                inner: MemoryStore::new(),
                commits: AtomicU64::new(0),
            },
            (),
        )
    }

    chat_core::store_conformance!(fresh());
}
