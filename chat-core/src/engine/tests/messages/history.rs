//! Tests of history pages, unread counts, replies and mentions.

use super::*;

fn mentioning(content: &str, mentions: Vec<UserId>, mention_all: bool) -> Draft {
    new_draft(DraftContent::Message {
        text: text(content),
        reply_to: None,
        mentions,
        mention_all,
    })
}

#[tokio::test]
async fn replies_and_mentions_are_checked() {
    let engine = engine().await;
    let (olga, bob) = (new_user(&engine, "olga").await, new_user(&engine, "bob").await);
    let eve = new_user(&engine, "eve").await;
    let group = create_group(&olga, "crowd").await;
    let group_ref = ConversationRef::Id(group);
    let before = olga.send_text(group_ref.clone(), "before bob").await.unwrap();
    join(&bob, group).await;
    let reply = |seq| {
        new_draft(DraftContent::Message {
            text: text("re"),
            reply_to: Some(seq),
            mentions: Vec::new(),
            mention_all: false,
        })
    };
    assert_eq!(
        error_code(bob.send(group_ref.clone(), reply(before.seq)).await),
        ReplyCode::NotFound,
        "the sender may not read the target"
    );
    assert_eq!(
        error_code(bob.send(group_ref.clone(), reply(Seq(99))).await),
        ReplyCode::NotFound
    );
    assert_eq!(
        error_code(olga.send(group_ref.clone(), reply(Seq(1))).await),
        ReplyCode::NotFound,
        "the target is not a message"
    );
    olga.send(group_ref.clone(), reply(before.seq)).await.unwrap();

    let non_member = mentioning("hey", vec![id(&eve)], false);
    assert_eq!(
        error_code(bob.send(group_ref.clone(), non_member).await),
        ReplyCode::InvalidArgument
    );
    // The default of `max_mentions` is 50.
    let many = mentioning("hey", (0..51).map(UserId).collect(), false);
    assert_eq!(
        error_code(bob.send(group_ref.clone(), many).await),
        ReplyCode::LimitExceeded
    );
    bob.send(group_ref.clone(), mentioning("hey", vec![id(&olga)], false))
        .await
        .unwrap();
    olga.send(group_ref.clone(), mentioning("all", Vec::new(), true))
        .await
        .unwrap();
    olga.send(group_ref.clone(), mentioning("both", vec![id(&bob)], true))
        .await
        .unwrap();
    let shown = info(&bob, group_ref).await;
    assert_eq!((shown.unread, shown.unread_mentions), (2, 2));
}

#[tokio::test]
async fn unread_count_excludes_edits_and_own_messages_and_is_reset_by_writing() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    befriend(&alice, &bob).await;
    for n in 0..5 {
        alice.send_text(direct(&bob), &n.to_string()).await.unwrap();
    }
    alice.send(direct(&bob), edit(Seq(1), "x")).await.unwrap();
    assert_eq!(info(&bob, direct(&alice)).await.unread, 5, "edits do not count");
    assert_eq!(info(&alice, direct(&bob)).await.unread, 0, "own messages do not count");
    bob.send_text(direct(&alice), "answer").await.unwrap();
    assert_eq!(
        info(&bob, direct(&alice)).await.unread,
        0,
        "a message of the user marks the earlier ones as read"
    );
}

#[tokio::test]
async fn history_pages_forward_and_backward() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    for n in 1..=10 {
        alice.send_text(direct(&alice), &n.to_string()).await.unwrap();
    }
    let page = |from| Command::ReadHistory {
        conversation: direct(&alice),
        page: Page {
            from,
            max_events: 3,
            max_bytes: u32::MAX,
        },
    };
    for (from, expected, more) in [
        (PageFrom::After(Seq(0)), vec!["1", "2", "3"], true),
        (PageFrom::After(Seq(8)), vec!["9", "10"], false),
        (PageFrom::Before(Seq(4)), vec!["1", "2", "3"], false),
        (PageFrom::Newest, vec!["8", "9", "10"], true),
        (PageFrom::After(Seq(u64::MAX)), vec![], false),
    ] {
        let Ok(Outcome::History(read)) = alice.execute(page(from)).await else {
            panic!("no page");
        };
        assert_eq!(
            (texts(&read), read.has_more),
            (expected.iter().map(ToString::to_string).collect(), more),
            "{from:?}"
        );
        assert_eq!((read.first_seq, read.last_seq), (Seq(1), Seq(10)));
    }
}
