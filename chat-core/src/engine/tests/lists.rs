//! Tests of the lists of conversations, at login and on request, and of the list of contacts.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::support::*;
use crate::clock::{Clock, SystemClock};
use crate::commands::Commands;
use crate::engine::{Engine, LocalSession};
use crate::model::*;
use crate::router::{Outbox, OutboxLimits};
use crate::service::AttachedSession;

/// Clock that advances by a millisecond whenever it is read, so that no two events have the same
/// time.
#[derive(Debug)]
struct AdvancingClock(AtomicI64);

impl Clock for AdvancingClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// Returns an engine whose lists have at most three conversations or contacts.
async fn engine_with_short_lists() -> Engine {
    let mut config = config();
    config.max_list_length = 3;
    let clock = AdvancingClock(AtomicI64::new(SystemClock.now().0));
    builder().config(config).clock(Arc::new(clock)).build().await.unwrap()
}

/// Creates a group with a description.
async fn described_group(owner: &LocalSession, name: &str) -> ConversationId {
    let mut new = NewGroup::new(GroupName::parse(name).unwrap());
    new.description = Description::new("long ".repeat(100)).unwrap();
    conversation(owner.execute(Command::CreateGroup(new)).await).id
}

/// Logs a device in and starts its session. Returns the session, with the conversations that the
/// login lists.
async fn attach(engine: &Engine, user: UserId, device: DeviceId) -> AttachedSession {
    let grant = engine.login(Source::Local, login(user, device)).await.unwrap();
    let outbox = Outbox::new(OutboxLimits::default());
    engine.attach(grant.caller, Source::Local, outbox).await.unwrap()
}

fn ids(conversations: &[ConversationInfo]) -> Vec<ConversationId> {
    conversations.iter().map(|info| info.id).collect()
}

/// Lists the conversations of the user of a session. If `include_ended` is true, the list also
/// contains the ended conversations that the device has acknowledged to their end.
async fn list(session: &LocalSession, include_ended: bool) -> Vec<ConversationId> {
    let query = ConversationQuery {
        include_ended,
        limit: 500,
        ..ConversationQuery::default()
    };
    ids(&session.conversation_page(query).await.unwrap().conversations)
}

#[tokio::test]
async fn login_lists_the_newest_conversations_and_pages_list_all() {
    let engine = engine_with_short_lists().await;
    let alice = new_user(&engine, "alice").await;
    let mut groups = Vec::new();
    for name in ["one", "two", "three", "four", "five"] {
        groups.push(described_group(&alice, name).await);
    }
    for group in [groups[4], groups[1], groups[2]] {
        alice.send_text(group, "hello").await.unwrap();
    }
    let attached = attach(&engine, id(&alice), DeviceId([7; 16])).await;
    let inbox = attached.conversations.last().unwrap();
    assert_eq!(inbox.view, ConversationView::Inbox, "listed although it is the oldest");
    assert_eq!(ids(&attached.conversations), [groups[2], groups[1], inbox.id]);
    assert!(attached.has_more);

    let (mut listed, mut query) = (Vec::new(), ConversationQuery::default());
    loop {
        let page = alice.conversation_page(query).await.unwrap();
        assert!(page.conversations.len() <= 3);
        listed.extend(page.conversations);
        let Some(next) = page.next else { break };
        query.after = next;
    }
    assert_eq!(listed.len(), 6, "the groups and the inbox");
    let all = alice.conversations().await.unwrap();
    assert_eq!((all.len(), all[0].id), (6, groups[2]));
    for info in attached.conversations.iter().chain(&listed).chain(&all) {
        if let ConversationView::Group(group) = &info.view {
            assert_eq!(group.profile.description, "", "lists contain no descriptions");
        }
    }
    let single = info(&alice, ConversationRef::Id(groups[0])).await;
    assert!(matches!(single.view, ConversationView::Group(group) if group.profile.description.len() == 500));
}

#[tokio::test]
async fn contacts_come_in_pages_and_all_are_listed() {
    let engine = engine_with_short_lists().await;
    let alice = new_user(&engine, "alice").await;
    assert_eq!(
        alice.contact_page(UserId(0), 3).await.unwrap(),
        ContactPage::new(Vec::new(), false)
    );
    let mut blocked = Vec::new();
    for number in 0..7 {
        let user = register(&engine, &format!("user{number}")).await;
        alice.block(user).await.unwrap();
        blocked.push(user);
    }
    let page = async |after, limit| {
        let page = alice.contact_page(after, limit).await.unwrap();
        let users: Vec<UserId> = page.contacts.iter().map(|contact| contact.user.id).collect();
        (users, page.has_more)
    };
    assert_eq!(page(UserId(0), 500).await, (blocked[..3].to_vec(), true));
    assert_eq!(page(blocked[2], 2).await, (blocked[3..5].to_vec(), true));
    assert_eq!(page(blocked[3], 3).await, (blocked[4..].to_vec(), false));
    assert_eq!(page(blocked[6], 3).await, (Vec::new(), false));
    let all = alice.contacts().await.unwrap();
    assert!(all.iter().map(|contact| contact.user.id).eq(blocked));
}

/// A device learns how a conversation ended. Then the lists for this device leave the conversation
/// out, unless they include ended ones.
#[tokio::test]
async fn ended_conversation_is_listed_until_the_device_has_acknowledged_it() {
    let engine = engine().await;
    let (olga, bob) = (new_user(&engine, "olga").await, new_user(&engine, "bob").await);
    let (left, deleted) = (create_group(&olga, "left").await, create_group(&olga, "closed").await);
    for group in [left, deleted] {
        join(&bob, group).await;
    }
    let (group, user, ban) = (ConversationRef::Id(left), user(&bob), false);
    olga.execute(Command::KickMember { group, user, ban }).await.unwrap();
    olga.execute(Command::DeleteGroup(ConversationRef::Id(deleted)))
        .await
        .unwrap();
    for ended in [left, deleted] {
        assert!(list(&bob, false).await.contains(&ended));
        let last = info(&bob, ConversationRef::Id(ended)).await.last_seq;
        bob.acknowledge(ended, last.previous()).await.unwrap();
        assert!(list(&bob, false).await.contains(&ended), "the last event is missing");
        bob.acknowledge(ended, last).await.unwrap();
        assert!(!list(&bob, false).await.contains(&ended));
        assert!(list(&bob, true).await.contains(&ended));
        assert!(!history(&bob, ConversationRef::Id(ended)).await.events.is_empty());
    }
    let device = bob.caller().device().unwrap();
    let same = attach(&engine, id(&bob), device).await;
    assert!(!ids(&same.conversations).contains(&left));
    let new = attach(&engine, id(&bob), DeviceId::random()).await;
    assert!(ids(&new.conversations).contains(&left) && !new.has_more);
}
