//! Tests of the events that the feed of a user, or of all conversations, contains.

use super::*;

#[tokio::test]
async fn feed_of_a_user_shows_the_readable_events_and_leaves_no_trace() {
    let engine = engine().await;
    let olga = new_user(&engine, "olga").await;
    let bot = register(&engine, "robin").await;
    let mut new_group = NewGroup::new(GroupName::parse("crowd").unwrap());
    new_group.history_visible = false;
    let crowd = olga.create_group(new_group).await.unwrap().id;
    let there = ConversationRef::Id(crowd);
    olga.send_text(there.clone(), "before").await.unwrap();
    send(&olga, "private").await;

    let mut options = FeedOptions::user("bot", bot);
    options.lease_ttl = Duration::from_millis(500);
    let feed = engine.feed(options).await.unwrap();
    assert_eq!(engine.router().stats().sessions, 1, "only olga has a session");
    let session = engine.session(bot, DeviceId::random()).await.unwrap();
    join(&session, crowd).await;
    drop(session);
    olga.send_text(there.clone(), "during").await.unwrap();
    let seen = drain(&feed, is_text("during")).await;
    assert!(seen.iter().any(|event| event.kind == EventKind::MemberJoined));
    assert_eq!(messages(&seen), ["during"]);

    let kick = Command::KickMember {
        group: there.clone(),
        user: UserRef::Id(bot),
        ban: false,
    };
    olga.execute(kick).await.unwrap();
    olga.send_text(there, "after").await.unwrap();
    befriend(&olga, &engine.session(bot, DeviceId::random()).await.unwrap()).await;
    olga.send_text(ConversationRef::direct(bot), "between us")
        .await
        .unwrap();
    let mut kinds = BTreeSet::new();
    let mut seen = Vec::new();
    // There is no order between conversations.
    while kinds.len() < 4 {
        let item = next(&feed).await;
        seen.extend(message(item.event()));
        if matches!(
            item.event().kind,
            EventKind::Message | EventKind::FriendRequested | EventKind::MemberKicked | EventKind::RemovedFromGroup
        ) {
            kinds.insert(item.event().kind as u8);
        }
        item.done();
    }
    assert_eq!(seen, ["between us"]);
}

#[tokio::test]
async fn feed_of_a_user_follows_the_user_out_of_a_group_and_back() {
    let engine = engine().await;
    let olga = new_user(&engine, "olga").await;
    let robin = new_user(&engine, "robin").await;
    let mut wish = NewGroup::new(GroupName::parse("crowd").unwrap());
    wish.history_visible = false;
    let crowd = olga.create_group(wish).await.unwrap().id;
    let there = ConversationRef::Id(crowd);
    let feed = engine.feed(FeedOptions::user("bot", id(&robin))).await.unwrap();
    let mut seen = Vec::new();
    for stay in ["first stay", "second stay"] {
        join(&robin, crowd).await;
        olga.send_text(there.clone(), stay).await.unwrap();
        seen.extend(messages(&drain(&feed, is_text(stay)).await));
        robin.execute(Command::LeaveGroup(there.clone())).await.unwrap();
        for n in 0..10 {
            olga.send_text(there.clone(), &format!("away {n}")).await.unwrap();
        }
    }
    assert_eq!(seen, ["first stay", "second stay"]);
}

#[tokio::test]
async fn feed_shows_edits_recalls_and_the_end_of_groups_and_accounts() {
    let engine = engine().await;
    let (olga, robin) = (new_user(&engine, "olga").await, new_user(&engine, "robin").await);
    let crowd = group(&olga, "crowd").await;
    let there = ConversationRef::Id(crowd);
    join(&robin, crowd).await;
    let feed = engine.feed(all()).await.unwrap();
    let users = FeedOptions::user("robins", id(&robin));
    let robins = engine.feed(users).await.unwrap();
    let sent = robin.send_text(there.clone(), "typo").await.unwrap();
    for feed in [&feed, &robins] {
        drain(feed, is_text("typo")).await;
    }
    let (target, text) = (sent.seq, text("fixed"));
    for content in [DraftContent::Edit { target, text }, DraftContent::Recall { target }] {
        let client_message_id = ClientMessageId::random();
        let draft = Draft {
            client_message_id,
            content,
        };
        robin.send(there.clone(), draft).await.unwrap();
    }
    let operator = engine.operator(OperatorName::new("carol").unwrap());
    let how = DeleteAccount {
        texts: DeletedTexts::Keep,
        name: DeletedName::Free,
        ..DeleteAccount::default()
    };
    operator.delete_account(id(&robin), how).await.unwrap();
    olga.execute(Command::DeleteGroup(there)).await.unwrap();
    let rest = drain(&feed, |event| event.kind == EventKind::GroupDeleted).await;
    let mut kinds: Vec<_> = rest.iter().filter(|event| event.conversation == crowd).collect();
    kinds.sort_by_key(|event| event.seq);
    let kinds: Vec<_> = kinds.iter().map(|event| event.kind).collect();
    assert_eq!(
        kinds,
        [
            EventKind::Edit,
            EventKind::Recall,
            EventKind::MemberLeft,
            EventKind::GroupDeleted
        ]
    );
    // The feed of a deleted user stays open and ends where the user's memberships ended.
    let rest = drain(&robins, |event| event.kind == EventKind::MemberLeft).await;
    assert!(rest.iter().all(|event| event.kind != EventKind::GroupDeleted));
    robins.close().await;
}

#[tokio::test]
async fn feed_of_a_disabled_user_waits_until_the_account_is_enabled() {
    let engine = engine().await;
    let operator = engine.operator(OperatorName::new("carol").unwrap());
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let group = group(&alice, "rust").await;
    join(&bob, group).await;
    let feed = engine
        .feed(FeedOptions::user("bob", id(&bob)).from_now())
        .await
        .unwrap();
    let everything = engine
        .feed(FeedOptions::all_conversations("all").from_now())
        .await
        .unwrap();
    operator.disable(id(&bob)).await.unwrap();
    alice.send_text(group, "while bob is locked out").await.unwrap();
    // Another feed shows that the message could have arrived.
    drain(&everything, is_text("while bob is locked out")).await;
    let early = timeout(Duration::from_millis(200), feed.next()).await;
    assert!(early.is_err(), "{early:?}");
    operator.enable(id(&bob)).await.unwrap();
    drain(&feed, is_text("while bob is locked out")).await;
}
