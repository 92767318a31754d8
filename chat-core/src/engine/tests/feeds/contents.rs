//! Tests of the events that the feed of a user, or of all conversations, contains.

use super::*;

#[tokio::test]
async fn feed_of_a_user_contains_the_readable_events_and_opens_no_session() {
    let engine = engine().await;
    let olga = new_user(&engine, "olga").await;
    let bot = register(&engine, "robin").await;
    let mut new_group = NewGroup::new(GroupName::parse("crowd").unwrap());
    new_group.history_visible = false;
    let crowd = olga.create_group(new_group).await.unwrap().id;
    let crowd_ref = ConversationRef::Id(crowd);
    olga.send_text(crowd_ref.clone(), "before").await.unwrap();
    send(&olga, "private").await;

    let mut options = FeedOptions::user("bot", bot);
    options.lease_ttl = Duration::from_millis(500);
    let feed = engine.feed(options).await.unwrap();
    assert_eq!(engine.router().stats().sessions, 1, "only olga has a session");
    let session = engine.session(bot, DeviceId::random()).await.unwrap();
    join(&session, crowd).await;
    drop(session);
    olga.send_text(crowd_ref.clone(), "during").await.unwrap();
    let seen = drain(&feed, is_text("during")).await;
    assert!(seen.iter().any(|event| event.kind == EventKind::MemberJoined));
    assert_eq!(messages(&seen), ["during"]);

    let kick = Command::KickMember {
        group: crowd_ref.clone(),
        user: UserRef::Id(bot),
        ban: false,
    };
    olga.execute(kick).await.unwrap();
    olga.send_text(crowd_ref, "after").await.unwrap();
    befriend(&olga, &engine.session(bot, DeviceId::random()).await.unwrap()).await;
    olga.send_text(ConversationRef::direct(bot), "between us")
        .await
        .unwrap();
    let mut kinds = BTreeSet::new();
    let mut seen = Vec::new();
    // Events of different conversations arrive in any order.
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
async fn feed_of_a_user_contains_the_events_of_both_stays_in_a_group() {
    let engine = engine().await;
    let olga = new_user(&engine, "olga").await;
    let robin = new_user(&engine, "robin").await;
    let mut new_group = NewGroup::new(GroupName::parse("crowd").unwrap());
    new_group.history_visible = false;
    let crowd = olga.create_group(new_group).await.unwrap().id;
    let crowd_ref = ConversationRef::Id(crowd);
    let feed = engine.feed(FeedOptions::user("bot", id(&robin))).await.unwrap();
    let mut seen = Vec::new();
    for stay in ["first stay", "second stay"] {
        join(&robin, crowd).await;
        olga.send_text(crowd_ref.clone(), stay).await.unwrap();
        seen.extend(messages(&drain(&feed, is_text(stay)).await));
        robin.execute(Command::LeaveGroup(crowd_ref.clone())).await.unwrap();
        for n in 0..10 {
            olga.send_text(crowd_ref.clone(), &format!("away {n}")).await.unwrap();
        }
    }
    assert_eq!(seen, ["first stay", "second stay"]);
}

#[tokio::test]
async fn feed_contains_edits_recalls_and_deletions_of_groups_and_accounts() {
    let engine = engine().await;
    let (olga, robin) = (new_user(&engine, "olga").await, new_user(&engine, "robin").await);
    let crowd = create_group(&olga, "crowd").await;
    let crowd_ref = ConversationRef::Id(crowd);
    join(&robin, crowd).await;
    let feed = engine.feed(all_conversations()).await.unwrap();
    let options = FeedOptions::user("robins", id(&robin));
    let robins_feed = engine.feed(options).await.unwrap();
    let sent = robin.send_text(crowd_ref.clone(), "typo").await.unwrap();
    for feed in [&feed, &robins_feed] {
        drain(feed, is_text("typo")).await;
    }
    let (target, text) = (sent.seq, text("fixed"));
    for content in [DraftContent::Edit { target, text }, DraftContent::Recall { target }] {
        let client_message_id = ClientMessageId::random();
        let draft = Draft {
            client_message_id,
            content,
        };
        robin.send(crowd_ref.clone(), draft).await.unwrap();
    }
    let operator = engine.operator(OperatorName::new("carol").unwrap());
    let options = DeletionOptions {
        texts: DeletedTexts::Keep,
        name: DeletedName::Free,
        ..DeletionOptions::default()
    };
    operator.delete_account(id(&robin), options).await.unwrap();
    olga.execute(Command::DeleteGroup(crowd_ref)).await.unwrap();
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
    // The feed of a deleted user stays open; its last event of the group is the end of the user's
    // membership.
    let mut rest = drain(&robins_feed, |event| event.kind == EventKind::MemberLeft).await;
    // The other feed has returned the deletion of the group, so this feed could have returned it
    // too.
    while let Ok(item) = timeout(Duration::from_millis(200), robins_feed.next()).await {
        let item = item.expect("the feed has ended");
        rest.push(item.event().clone());
        item.done();
    }
    assert!(rest.iter().all(|event| event.kind != EventKind::GroupDeleted));
    robins_feed.close().await;
}

#[tokio::test]
async fn feed_of_a_disabled_user_waits_until_the_account_is_enabled() {
    let engine = engine().await;
    let operator = engine.operator(OperatorName::new("carol").unwrap());
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let group = create_group(&alice, "rust").await;
    join(&bob, group).await;
    let feed = engine
        .feed(FeedOptions::user("bob", id(&bob)).from_now())
        .await
        .unwrap();
    let full_feed = engine
        .feed(FeedOptions::all_conversations("all").from_now())
        .await
        .unwrap();
    operator.disable(id(&bob)).await.unwrap();
    alice.send_text(group, "while bob is locked out").await.unwrap();
    // Once another feed has returned the message, the feed of bob could have returned it too.
    drain(&full_feed, is_text("while bob is locked out")).await;
    let early = timeout(Duration::from_millis(200), feed.next()).await;
    assert!(early.is_err(), "{early:?}");
    operator.enable(id(&bob)).await.unwrap();
    drain(&feed, is_text("while bob is locked out")).await;
}
