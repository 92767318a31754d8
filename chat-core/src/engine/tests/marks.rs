//! Tests of cursors, read marks, receipts and typing notices.

use super::support::*;
use crate::commands::Commands;
use crate::engine::LocalSession;
use crate::model::*;

pub(super) fn mark_read(conversation: ConversationId, seq: Seq) -> Command {
    Command::MarkRead { conversation, seq }
}

pub(super) fn acknowledge(conversation: ConversationId, seq: Seq) -> Command {
    Command::Acknowledge { conversation, seq }
}

/// Waits for a receipt with these delivered and read marks.
async fn wait_for_receipt(session: &LocalSession, wanted: (Seq, Seq)) {
    wait_for_push(session, |push| match push {
        Push::Receipt {
            delivered_seq,
            read_seq,
            ..
        } if (*delivered_seq, *read_seq) == wanted => Some(()),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn sender_receives_delivery_and_read_receipts() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    befriend(&alice, &bob).await;
    let sent = alice.send_text(direct(&bob), "hi").await.unwrap();
    bob.execute(acknowledge(sent.conversation, sent.seq)).await.unwrap();
    wait_for_receipt(&alice, (Seq(1), Seq(0))).await;
    let laptop = engine.session(id(&bob), DeviceId::random()).await.unwrap();
    bob.execute(mark_read(sent.conversation, sent.seq)).await.unwrap();
    wait_for_receipt(&alice, (Seq(1), Seq(1))).await;
    let own = wait_for_push(&laptop, |push| match push {
        Push::Read {
            read_seq,
            unread,
            unread_mentions,
            ..
        } => Some((*read_seq, *unread, *unread_mentions)),
        _ => None,
    });
    assert_eq!(own.await, (Seq(1), 0, 0));
    let shown = info(&alice, direct(&bob)).await;
    assert_eq!((shown.peer_delivered_seq, shown.peer_read_seq), (Seq(1), Seq(1)));
    let (on_phone, on_laptop) = (info(&bob, direct(&alice)).await, info(&laptop, direct(&alice)).await);
    assert_eq!(
        (on_phone.cursor, on_laptop.cursor),
        (Seq(1), Seq(0)),
        "each device has its own cursor"
    );
    assert_eq!((on_phone.read_seq, on_laptop.read_seq), (Seq(1), Seq(1)));
}

#[tokio::test]
async fn read_mark_only_grows_and_stays_in_range() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    befriend(&alice, &bob).await;
    let mut conversation = ConversationId(0);
    for n in 0..3 {
        conversation = alice
            .send_text(direct(&bob), &n.to_string())
            .await
            .unwrap()
            .conversation;
    }
    for seq in [3, 1, 2] {
        bob.execute(mark_read(conversation, Seq(seq))).await.unwrap();
        bob.execute(acknowledge(conversation, Seq(seq))).await.unwrap();
    }
    wait_for_receipt(&alice, (Seq(3), Seq(3))).await;
    bob.execute(mark_read(conversation, Seq(1_000))).await.unwrap();
    let eve = new_user(&engine, "eve").await;
    let refused = eve.execute(mark_read(conversation, Seq(1))).await;
    assert_eq!(error_code(refused), ReplyCode::NotFound);
    engine.shutdown().await;
    let store = engine.parts.access.store();
    assert_eq!(
        store.member(conversation, id(&bob)).await.unwrap().unwrap().read_seq,
        Seq(3)
    );
    assert_eq!(store.member(conversation, id(&eve)).await.unwrap(), None);
}

#[tokio::test]
async fn receipts_and_typing_notices_are_not_sent_in_large_groups() {
    for (limit, sends_both) in [(3, true), (2, false)] {
        let mut config = config();
        config.max_receipt_members = limit;
        config.max_typing_members = limit;
        let engine = builder().config(config).build().await.unwrap();
        let olga = new_user(&engine, "olga").await;
        let (bob, eve) = (new_user(&engine, "bob").await, new_user(&engine, "eve").await);
        let group = create_group(&olga, "crowd").await;
        join(&bob, group).await;
        join(&eve, group).await;
        let sent = olga.send_text(ConversationRef::Id(group), "hi").await.unwrap();
        let typing = Command::Typing {
            conversation: group,
            stopped: false,
        };
        eve.execute(typing).await.unwrap();
        bob.execute(mark_read(group, sent.seq)).await.unwrap();
        engine.shutdown().await;
        // Numbers of receipts and of typing notices.
        let mut received = (0, 0);
        while let Some(push) = olga.try_next_push() {
            match push {
                Push::Receipt { user, read_seq, .. } if (user, read_seq) == (id(&bob), sent.seq) => received.0 += 1,
                Push::Typing { user, .. } if user == id(&eve) => received.1 += 1,
                _ => {}
            }
        }
        assert_eq!(received, if sends_both { (1, 1) } else { (0, 0) });
    }
}

#[tokio::test]
async fn receipts_in_a_group_go_to_the_other_members_only() {
    let engine = engine().await;
    let (olga, phone) = (new_user(&engine, "olga").await, new_user(&engine, "bob").await);
    let laptop = engine.session(id(&phone), DeviceId::random()).await.unwrap();
    let group = create_group(&olga, "crowd").await;
    join(&phone, group).await;
    let sent = olga.send_text(ConversationRef::Id(group), "hi").await.unwrap();
    let read = info(&phone, ConversationRef::Id(group)).await.read_seq;
    assert!(read < sent.seq);
    phone.execute(acknowledge(group, sent.seq)).await.unwrap();
    wait_for_receipt(&olga, (sent.seq, read)).await;
    phone.execute(mark_read(group, sent.seq)).await.unwrap();
    wait_for_receipt(&olga, (sent.seq, sent.seq)).await;
    engine.shutdown().await;
    for session in [&phone, &laptop] {
        while let Some(push) = session.try_next_push() {
            assert!(!matches!(push, Push::Receipt { .. }), "{push:?}");
        }
    }
}

#[tokio::test]
async fn block_hides_receipts() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    befriend(&alice, &bob).await;
    let sent = alice.send_text(direct(&bob), "hi").await.unwrap();
    bob.execute(Command::Block(user(&alice))).await.unwrap();
    bob.execute(mark_read(sent.conversation, sent.seq)).await.unwrap();
    engine.shutdown().await;
    while let Some(push) = alice.try_next_push() {
        assert!(!matches!(push, Push::Receipt { .. }));
    }
}

/// A user who would not receive the receipts of a peer does not see the marks of this peer in a
/// view either. The case says what happened after the marks, `visible` whether alice still sees
/// those of bob, and `policy` is the direct policy of alice.
#[tokio::test]
async fn views_show_marks_only_if_their_receipts_would_be_sent() {
    let cases: [(&str, bool, DirectPolicy); 6] = [
        ("still friends", true, DirectPolicy::Friends),
        ("alice unfriends", false, DirectPolicy::Friends),
        ("alice unfriends", true, DirectPolicy::Everyone),
        ("bob unfriends", false, DirectPolicy::Friends),
        ("alice blocks", false, DirectPolicy::Everyone),
        ("bob blocks", false, DirectPolicy::Everyone),
    ];
    for (case, visible, policy) in cases {
        let engine = engine().await;
        let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
        let changes = ProfileChanges {
            direct_policy: Some(policy),
            ..ProfileChanges::default()
        };
        alice.execute(Command::UpdateProfile(changes)).await.unwrap();
        befriend(&alice, &bob).await;
        let sent = alice.send_text(direct(&bob), "hi").await.unwrap();
        bob.execute(acknowledge(sent.conversation, sent.seq)).await.unwrap();
        bob.execute(mark_read(sent.conversation, sent.seq)).await.unwrap();
        wait_for_receipt(&alice, (Seq(1), Seq(1))).await;
        match case {
            "alice unfriends" => drop(alice.execute(Command::RemoveFriend(user(&bob))).await.unwrap()),
            "bob unfriends" => drop(bob.execute(Command::RemoveFriend(user(&alice))).await.unwrap()),
            "alice blocks" => drop(alice.execute(Command::Block(user(&bob))).await.unwrap()),
            "bob blocks" => drop(bob.execute(Command::Block(user(&alice))).await.unwrap()),
            _ => {}
        }
        let single = info(&alice, direct(&bob)).await;
        let listed = alice.conversations().await.unwrap();
        let listed = listed.into_iter().find(|info| info.id == single.id).unwrap();
        let expected = if visible {
            (Seq(1), Seq(1))
        } else {
            (Seq::ZERO, Seq::ZERO)
        };
        for view in [single, listed] {
            let seen = (view.peer_delivered_seq, view.peer_read_seq);
            assert_eq!(seen, expected, "{case}, {policy:?}");
        }
    }
}

/// The list of members shows the marks that receipts report: those of active members of small
/// groups.
#[tokio::test]
async fn members_show_marks_as_receipts_do() {
    for (limit, visible) in [(3, true), (2, false)] {
        let mut config = config();
        config.max_receipt_members = limit;
        let engine = builder().config(config).build().await.unwrap();
        let olga = new_user(&engine, "olga").await;
        let (bob, eve) = (new_user(&engine, "bob").await, new_user(&engine, "eve").await);
        let group = create_group(&olga, "crowd").await;
        join(&bob, group).await;
        join(&eve, group).await;
        let sent = olga.send_text(ConversationRef::Id(group), "hi").await.unwrap();
        bob.execute(mark_read(group, sent.seq)).await.unwrap();
        eve.execute(mark_read(group, sent.seq)).await.unwrap();
        let ban = Command::KickMember {
            group: ConversationRef::Id(group),
            user: user(&eve),
            ban: true,
        };
        let marks = async |of: &LocalSession| {
            let members = olga.members(ConversationRef::Id(group), UserId(0), 10).await.unwrap();
            let member = members.members.into_iter().find(|member| member.user.id == id(of));
            member.unwrap().read_seq
        };
        for session in [&bob, &eve] {
            assert_eq!(info(session, ConversationRef::Id(group)).await.read_seq, sent.seq);
        }
        let expected = if visible { sent.seq } else { Seq::ZERO };
        assert_eq!((marks(&bob).await, marks(&eve).await), (expected, expected));
        assert_eq!(marks(&olga).await, sent.seq, "the caller always sees its own marks");
        olga.execute(ban).await.unwrap();
        assert_eq!(marks(&eve).await, Seq::ZERO, "banned");
    }
}

#[tokio::test]
async fn mark_beyond_the_end_marks_everything() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    befriend(&alice, &bob).await;
    for content in ["one", "two", "three"] {
        alice.send_text(direct(&bob), content).await.unwrap();
    }
    let conversation = info(&bob, direct(&alice)).await.id;
    for has_earlier_marks in [false, true] {
        if has_earlier_marks {
            bob.execute(mark_read(conversation, Seq(2))).await.unwrap();
            bob.execute(acknowledge(conversation, Seq(2))).await.unwrap();
        }
        bob.execute(mark_read(conversation, Seq(5000))).await.unwrap();
        bob.execute(acknowledge(conversation, Seq(5000))).await.unwrap();
        let view = info(&bob, direct(&alice)).await;
        assert_eq!((view.read_seq, view.cursor, view.unread), (Seq(3), Seq(3), 0));
    }
}

#[tokio::test]
async fn marks_for_unknown_and_foreign_conversations_are_refused() {
    let engine = engine().await;
    let (alice, eve) = (new_user(&engine, "alice").await, new_user(&engine, "eve").await);
    let foreign = alice.send_text(direct(&alice), "mine").await.unwrap().conversation;
    for conversation in [foreign, ConversationId(999_999)] {
        let results = [
            eve.execute(mark_read(conversation, Seq(1))).await,
            eve.execute(acknowledge(conversation, Seq(1))).await,
        ];
        for result in results {
            assert_eq!(error_code(result), ReplyCode::NotFound);
        }
    }
}
