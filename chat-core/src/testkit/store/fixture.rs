//! Helpers of the test cases.

use std::fmt::{self, Debug, Write};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::model::{
    ClientMessageId, ConversationId, ConversationKind, Device, DeviceId, DirectPolicy, Event, EventId, EventKind,
    GroupProfile, JoinPolicy, Member, Page, PageFrom, Role, Seq, SessionEpoch, Timestamp, UserId,
};
use crate::store::{AuditPage, NewAccount, NewConversation, Store, StoreError, Transaction, TxError, Unit};
use crate::sync::Mutex;

/// Time used by cases that do not need a particular time.
pub(super) const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// Runs a closure as a unit of work and returns its result once it is committed. The store may call
/// the closure again after a rollback.
///
/// # Errors
/// The errors of [`Store::transact`].
pub async fn transact<T, F>(store: &dyn Store, work: F) -> Result<T, StoreError>
where
    F: for<'t> FnMut(&'t mut dyn Transaction) -> BoxFuture<'t, Result<T, TxError>> + Send + 'static,
    T: Send + 'static,
{
    let slot = Arc::new(Mutex::new(None));
    let unit = ClosureUnit {
        work,
        slot: Arc::clone(&slot),
    };
    store.transact(Box::new(unit)).await?;
    let result = slot.lock().take();
    Ok(result.expect("a committed unit has a result"))
}

/// Unit that runs a closure and puts its result into a slot.
struct ClosureUnit<T, F> {
    work: F,
    slot: Arc<Mutex<Option<T>>>,
}

impl<T, F> Debug for ClosureUnit<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClosureUnit")
    }
}

#[async_trait]
impl<T, F> Unit for ClosureUnit<T, F>
where
    F: for<'t> FnMut(&'t mut dyn Transaction) -> BoxFuture<'t, Result<T, TxError>> + Send + 'static,
    T: Send + 'static,
{
    async fn run(&mut self, tx: &mut dyn Transaction) -> Result<(), TxError> {
        let result = (self.work)(tx).await?;
        *self.slot.lock() = Some(result);
        Ok(())
    }
}

/// Returns the values with which an account of this name can be created.
#[must_use]
pub fn new_account(name: &str) -> NewAccount {
    NewAccount {
        name: name.to_owned(),
        skeleton: format!("skeleton of {name}"),
        subject: None,
        display_name: format!("{name} displayed"),
        password_hash: None,
        direct_policy: DirectPolicy::Friends,
        created: NOW,
    }
}

/// Creates an account with this name, which must be free.
pub(super) async fn create_account(store: &dyn Store, name: &str) -> UserId {
    let new = new_account(name);
    let made = transact(store, move |tx| {
        let new = new.clone();
        Box::pin(async move { Ok(tx.create_account(new).await?) })
    });
    made.await.unwrap().expect("the name is free")
}

/// Creates an account and its inbox. Returns the id of the user. Panics if the name is taken or the
/// store fails.
pub async fn register(store: &dyn Store, name: String) -> UserId {
    let created = transact(store, move |tx| {
        let account = new_account(&name);
        Box::pin(async move {
            let user = tx.create_account(account).await?.ok_or(TxError::Abort)?;
            let inbox = without_group(ConversationKind::Inbox { owner: user });
            let inbox = tx.create_conversation(inbox).await?.ok_or(TxError::Abort)?;
            tx.put_member(&Member::active(inbox, user, Role::Member, Seq(1)))
                .await?;
            Ok(user)
        })
    });
    created.await.unwrap()
}

/// Creates direct conversations of `user` with `count` new users, with a message of the other user
/// in each. Each unit of work creates at most 100 of them. Panics if the store fails.
pub async fn create_direct_conversations(store: &dyn Store, user: UserId, count: u64) {
    for first in (0..count).step_by(100) {
        let work = transact(store, move |tx| {
            Box::pin(async move {
                for number in first..count.min(first + 100) {
                    let name = format!("peer-{user}-{number}");
                    let peer = tx.create_account(new_account(&name)).await?.ok_or(TxError::Abort)?;
                    let new = without_group(ConversationKind::Direct { low: user, high: peer });
                    let id = tx.create_conversation(new).await?.ok_or(TxError::Abort)?;
                    for member in [user, peer] {
                        tx.put_member(&Member::active(id, member, Role::Member, Seq(1))).await?;
                    }
                    append_to(tx, id, peer, &[NewEvent::message("hello")]).await?;
                }
                Ok(())
            })
        });
        work.await.unwrap();
    }
}

/// Returns a device without a session token, with the id `device_id(number)`.
pub(super) fn new_device(user: UserId, number: u8) -> Device {
    Device {
        user,
        id: device_id(number),
        name: format!("device {number}"),
        session_epoch: SessionEpoch(0),
        session_token: None,
        token_issued: None,
        replaced_token: None,
        sibling_token: None,
        device_token: None,
        created: NOW,
        last_login: NOW,
        session_expires: None,
    }
}

pub(super) fn device_id(number: u8) -> DeviceId {
    DeviceId([number; 16])
}

pub(super) async fn put_device(store: &dyn Store, device: Device) {
    let put = transact(store, move |tx| {
        let device = device.clone();
        Box::pin(async move { Ok(tx.put_device(&device).await?) })
    });
    put.await.unwrap();
}

/// Returns a group profile with this key, from which name, skeleton and description are derived.
pub(super) fn profile(key: &str) -> GroupProfile {
    GroupProfile {
        name: key.to_uppercase(),
        key: key.to_owned(),
        skeleton: format!("skeleton of {key}"),
        description: format!("about {key}"),
        join_policy: JoinPolicy::Open,
        history_visible: false,
        unlisted: false,
    }
}

/// Returns the values with which a group with this key can be created.
pub(super) fn new_group(key: &str) -> NewConversation {
    NewConversation {
        kind: ConversationKind::Group,
        group: Some(profile(key)),
        created: NOW,
    }
}

/// Returns the values with which a direct conversation or an inbox can be created.
pub(super) fn without_group(kind: ConversationKind) -> NewConversation {
    NewConversation {
        kind,
        group: None,
        created: NOW,
    }
}

/// Creates a conversation. Returns `None` if it exists already, or its key or skeleton is taken.
pub(super) async fn create(store: &dyn Store, new: NewConversation) -> Option<ConversationId> {
    let made = transact(store, move |tx| {
        let new = new.clone();
        Box::pin(async move { Ok(tx.create_conversation(new).await?) })
    });
    made.await.unwrap()
}

pub(super) async fn put_member(store: &dyn Store, member: Member) {
    let put = transact(store, move |tx| {
        let member = member.clone();
        Box::pin(async move { Ok(tx.put_member(&member).await?) })
    });
    put.await.unwrap();
}

/// An event that has no sequence number yet.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Kind of the event.
    pub kind: EventKind,
    /// Earlier event that the edit, recall or reaction refers to.
    pub target: Option<Seq>,
    /// Client message id that the sender gave the event, if any.
    pub client_message_id: Option<ClientMessageId>,
    /// Mentioned users; `UserId(0)` mentions every member.
    pub mentions: Vec<UserId>,
    /// Encoded body of the event.
    pub body: Bytes,
}

impl NewEvent {
    /// Returns a message with this text as its body, and a random client message id.
    pub fn message(text: impl Into<Bytes>) -> Self {
        Self {
            kind: EventKind::Message,
            target: None,
            client_message_id: Some(ClientMessageId::random()),
            mentions: Vec::new(),
            body: text.into(),
        }
    }

    /// Returns an event of this kind that refers to `target`, with the name of the kind as its body
    /// and a random client message id.
    #[must_use]
    pub fn of(kind: EventKind, target: Option<Seq>) -> Self {
        Self {
            kind,
            target,
            ..Self::message(format!("{kind:?}"))
        }
    }

    /// Returns the event with mentions of these users.
    #[must_use]
    pub fn mentioning(mut self, users: &[UserId]) -> Self {
        self.mentions = users.to_vec();
        self
    }
}

/// Appends `new_events` to a conversation inside a transaction, as the engine does: locks the
/// conversation, numbers and inserts the events, records their mentions, and updates the row. The
/// events name the sender's device `device_id(1)`.
///
/// # Errors
/// Returns [`TxError::Abort`] if the conversation does not exist, or the error of the transaction.
pub async fn append_to(
    tx: &mut dyn Transaction,
    conversation: ConversationId,
    sender: UserId,
    new_events: &[NewEvent],
) -> Result<Vec<Event>, TxError> {
    let mut row = tx.lock_conversation(conversation).await?.ok_or(TxError::Abort)?;
    let mut events = Vec::with_capacity(new_events.len());
    for new_event in new_events {
        row.last_seq = row.last_seq.next();
        row.message_count += u64::from(new_event.kind == EventKind::Message);
        row.last_time = row.last_time.plus_millis(1);
        events.push(Event {
            conversation,
            seq: row.last_seq,
            id: EventId::random(),
            sender,
            device: Some(device_id(1)),
            client_message_id: new_event.client_message_id,
            fingerprint: row.last_seq.0.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            time: row.last_time,
            kind: new_event.kind,
            target: new_event.target,
            message_count: row.message_count,
            edited_seq: None,
            recalled_seq: None,
            body: new_event.body.clone(),
        });
    }
    tx.insert_events(&events).await?;
    for (event, new_event) in events.iter().zip(new_events) {
        if !new_event.mentions.is_empty() {
            tx.put_mentions(conversation, event.seq, &new_event.mentions).await?;
        }
    }
    tx.update_conversation(&row).await?;
    Ok(events)
}

/// Appends `count` messages to the group of `world`, and then an edit of each, whose body has
/// `edit_bytes` bytes, in one unit of work.
///
/// # Errors
/// The errors of [`append`].
pub async fn append_edited_messages(world: &World, count: u64, edit_bytes: usize) -> Result<(), StoreError> {
    let (group, alice) = (world.group, world.alice);
    transact(&*world.store, move |tx| {
        Box::pin(async move {
            let messages: Vec<_> = (0..count).map(|_| NewEvent::message("short")).collect();
            let messages = append_to(tx, group, alice, &messages).await?;
            let edit = |message: &Event| NewEvent {
                body: Bytes::from(vec![b'e'; edit_bytes]),
                ..NewEvent::of(EventKind::Edit, Some(message.seq))
            };
            let edits: Vec<_> = messages.iter().map(edit).collect();
            let edits = append_to(tx, group, alice, &edits).await?;
            for (message, edit) in messages.iter().zip(edits) {
                tx.mark_edited(group, message.seq, edit.seq).await?;
            }
            Ok(())
        })
    })
    .await
}

/// Appends `new_events` in a separate unit of work.
///
/// # Errors
/// [`StoreError::Aborted`] if the conversation does not exist, otherwise the errors of
/// [`Store::transact`].
pub async fn append(
    store: &dyn Store,
    conversation: ConversationId,
    sender: UserId,
    new_events: Vec<NewEvent>,
) -> Result<Vec<Event>, StoreError> {
    let work = transact(store, move |tx| {
        let new_events = new_events.clone();
        Box::pin(async move { append_to(tx, conversation, sender, &new_events).await })
    });
    work.await
}

/// Returns this number of messages.
pub(super) fn messages(count: usize) -> Vec<NewEvent> {
    (1..=count)
        .map(|number| NewEvent::message(format!("message {number}")))
        .collect()
}

/// Returns a request for a page without limits.
pub(super) fn page(from: PageFrom) -> Page {
    Page {
        from,
        max_events: u32::MAX,
        max_bytes: u32::MAX,
    }
}

/// Three users with two devices each, a direct conversation of the first two, and a group of all
/// three.
#[derive(Debug)]
pub struct World {
    /// The store under test.
    pub store: Arc<dyn Store>,
    /// Owner of the group, and member of the direct conversation.
    pub alice: UserId,
    /// Admin of the group, and member of the direct conversation.
    pub bob: UserId,
    /// Member of the group only.
    pub carol: UserId,
    /// Direct conversation of Alice and Bob.
    pub direct: ConversationId,
    /// Group of all three users.
    pub group: ConversationId,
}

impl World {
    /// Creates the world in an empty store.
    pub async fn new(store: Arc<dyn Store>) -> Self {
        let alice = create_account(&*store, "alice").await;
        let bob = create_account(&*store, "bob").await;
        let carol = create_account(&*store, "carol").await;
        for user in [alice, bob, carol] {
            put_device(&*store, new_device(user, 1)).await;
            put_device(&*store, new_device(user, 2)).await;
        }
        let kind = ConversationKind::direct(alice, bob);
        let direct = create(&*store, without_group(kind))
            .await
            .expect("the conversation is new");
        let group = create(&*store, new_group("group")).await.expect("the name is free");
        for user in [alice, bob] {
            put_member(&*store, Member::active(direct, user, Role::Member, Seq(1))).await;
        }
        for (user, role) in [(alice, Role::Owner), (bob, Role::Admin), (carol, Role::Member)] {
            put_member(&*store, Member::active(group, user, role, Seq(1))).await;
        }
        Self {
            store,
            alice,
            bob,
            carol,
            direct,
            group,
        }
    }

    /// Appends events to the group as Alice.
    pub(super) async fn say(&self, new_events: Vec<NewEvent>) -> Vec<Event> {
        append(&*self.store, self.group, self.alice, new_events).await.unwrap()
    }

    /// Returns the membership of a user in the group.
    pub(super) async fn member(&self, user: UserId) -> Member {
        let member = self.store.member(self.group, user).await.unwrap();
        member.expect("the user has a membership")
    }

    /// Returns the membership of a user in the group, as the first device of the user sees it.
    pub(super) async fn membership(&self, user: UserId) -> crate::store::MembershipView {
        let membership = self.store.membership(user, device_id(1), self.group).await.unwrap();
        membership.expect("the user has a membership")
    }

    /// Returns as text what most reads of the store return for users and conversations with ids
    /// below 10; the ids of the world must be below 10 too. Some of the fields that the `Debug`
    /// form of accounts and devices omits are written separately.
    pub(super) async fn dump(&self) -> String {
        let store = &self.store;
        let mut text = String::new();
        let users: Vec<UserId> = (1..=9).map(UserId).collect();
        let conversations: Vec<ConversationId> = (1..=9).map(ConversationId).collect();
        let mut accounts = store.accounts(&users).await.unwrap();
        accounts.sort_by_key(|account| account.id);
        for account in accounts {
            let login_fields = (&account.password_hash, account.direct_policy, account.disabled);
            let other_fields = (&account.subject, account.deleted, &account.skeleton);
            writeln!(text, "{other_fields:?}").unwrap();
            writeln!(text, "{account:?} {} {login_fields:?}", account.display_name).unwrap();
            writeln!(text, "{:?}", store.account_by_name(&account.name).await.unwrap()).unwrap();
        }
        writeln!(text, "{:?}", store.search_accounts("", 100).await.unwrap()).unwrap();
        for user in users {
            for device in store.devices(user).await.unwrap() {
                let fields = (
                    &device.name,
                    device.session_token,
                    device.device_token,
                    device.last_login,
                );
                writeln!(text, "{device:?} {fields:?}").unwrap();
                let mut memberships = store
                    .memberships(user, device.id, ConversationId(0), u32::MAX)
                    .await
                    .unwrap();
                memberships.sort_by_key(|membership| membership.conversation.id);
                writeln!(text, "{memberships:?}").unwrap();
            }
            writeln!(text, "{:?}", store.contacts(user, UserId(0), 100).await.unwrap()).unwrap();
        }
        writeln!(text, "{:?}", store.search_groups("", 100).await.unwrap()).unwrap();
        writeln!(text, "{:?}", store.stats().await.unwrap()).unwrap();
        writeln!(text, "{:?}", store.audit_log(AuditPage::Newest, 100).await.unwrap()).unwrap();
        for feed in ["feed", "new feed"] {
            let mut positions = store.feed_positions(feed, &conversations).await.unwrap();
            positions.sort_by_key(|position| position.conversation);
            let leases = store.feed_leases(feed).await.unwrap();
            writeln!(text, "{positions:?} {leases:?}").unwrap();
        }
        for id in conversations {
            let row = store.conversation(id).await.unwrap();
            let found = match &row {
                Some(row) => match &row.group {
                    Some(group) => store.group_by_key(&group.key).await.unwrap(),
                    None => store.conversation_of_kind(&row.kind).await.unwrap(),
                },
                None => None,
            };
            writeln!(text, "{row:?} {found:?}").unwrap();
            writeln!(text, "{:?}", store.members(id, UserId(0), 100).await.unwrap()).unwrap();
            let events = store.events(id, Seq(1), Seq(u64::MAX), u32::MAX).await.unwrap();
            writeln!(text, "{events:?}").unwrap();
            for event in events {
                let ids: Vec<_> = event.client_message_id.into_iter().collect();
                writeln!(text, "{:?}", store.find_sent(event.sender, &ids).await.unwrap()).unwrap();
            }
        }
        text
    }
}

/// Generator of pseudo-random numbers from a seed (xorshift64).
pub(super) struct SeededRng(u64);

impl SeededRng {
    pub(super) fn new(seed: u64) -> Self {
        // Xorshift needs a state other than 0.
        Self(seed | 1)
    }

    /// Returns a number in `0..end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}
