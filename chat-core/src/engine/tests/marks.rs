//! Tests of cursors, read marks, receipts and typing notices.

use std::time::Duration;

use super::support::*;
use crate::commands::Commands;
use crate::engine::LocalSession;
use crate::model::*;
use crate::rate::Rate;

fn mark_read(conversation: ConversationId, seq: Seq) -> Command {
    Command::MarkRead { conversation, seq }
}

fn acknowledge(conversation: ConversationId, seq: Seq) -> Command {
    Command::Acknowledge { conversation, seq }
}

/// Waits for a receipt with these delivered and read marks.
async fn receipt(session: &LocalSession, wanted: (Seq, Seq)) {
    push(session, |push| match push {
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
    receipt(&alice, (Seq(1), Seq(0))).await;
    let laptop = engine.session(id(&bob), DeviceId::random()).await.unwrap();
    bob.execute(mark_read(sent.conversation, sent.seq)).await.unwrap();
    receipt(&alice, (Seq(1), Seq(1))).await;
    let own = push(&laptop, |push| match push {
        Push::Read {
            read_seq,
            unread,
            unread_mentions,
            ..
        } => Some((*read_seq, *unread, *unread_mentions)),
        _ => None,
    });
    assert_eq!(own.await, (Seq(1), 0, 0));
    let head = info(&alice, direct(&bob)).await;
    assert_eq!((head.peer_delivered_seq, head.peer_read_seq), (Seq(1), Seq(1)));
    let (on_phone, on_laptop) = (info(&bob, direct(&alice)).await, info(&laptop, direct(&alice)).await);
    assert_eq!(
        (on_phone.cursor, on_laptop.cursor),
        (Seq(1), Seq(0)),
        "each device has its own cursor"
    );
    assert_eq!((on_phone.read_seq, on_laptop.read_seq), (Seq(1), Seq(1)));
}

#[tokio::test]
async fn marks_only_grow_and_stay_in_range() {
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
    receipt(&alice, (Seq(3), Seq(3))).await;
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
async fn marks_are_written_at_shutdown() {
    let mut config = config();
    config.mark_flush_interval = std::time::Duration::from_secs(3600);
    let engine = builder().config(config).build().await.unwrap();
    let alice = new_user(&engine, "alice").await;
    let sent = alice.send_text(direct(&alice), "x").await.unwrap();
    alice.execute(acknowledge(sent.conversation, sent.seq)).await.unwrap();
    engine.shutdown().await;
    let caller = alice.caller();
    let membership = engine
        .parts
        .access
        .store()
        .membership(caller.user, caller.device().unwrap(), sent.conversation)
        .await
        .unwrap();
    assert_eq!(membership.unwrap().cursor, Seq(1));
}

#[tokio::test]
async fn receipts_and_typing_notices_are_not_sent_in_large_groups() {
    for (limit, sends_receipts) in [(3, true), (2, false)] {
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
        let mut received = (0, 0);
        while let Some(push) = olga.try_next_push() {
            match push {
                Push::Receipt { user, read_seq, .. } if (user, read_seq) == (id(&bob), sent.seq) => received.0 += 1,
                Push::Typing { user, .. } if user == id(&eve) => received.1 += 1,
                _ => {}
            }
        }
        assert_eq!(received, if sends_receipts { (1, 1) } else { (0, 0) });
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
    receipt(&olga, (sent.seq, read)).await;
    phone.execute(mark_read(group, sent.seq)).await.unwrap();
    receipt(&olga, (sent.seq, sent.seq)).await;
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

#[tokio::test(start_paused = true)]
async fn marks_for_unknown_conversations_do_not_displace_others() {
    let mut config = config();
    config.mark_flush_interval = std::time::Duration::from_secs(1);
    let (engine, _store, alice) = faulty(config).await;
    let mallory = new_user(&engine, "mallory").await;
    let conversation = info(&alice, direct(&alice)).await.id;
    // More marks than the queue holds (`max_queued_marks`).
    for n in 0..70_000 {
        let invented = ConversationId(1 << 40 | n);
        let refused = mallory.execute(acknowledge(invented, Seq(1))).await;
        assert_eq!(error_code(refused), ReplyCode::NotFound);
        let refused = mallory.execute(mark_read(invented, Seq(1))).await;
        assert_eq!(error_code(refused), ReplyCode::NotFound);
    }
    alice.execute(acknowledge(conversation, Seq(1))).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(info(&alice, direct(&alice)).await.cursor, Seq(1));
}

/// A mark whose row is locked delays the other marks of its transaction only for a limited time.
#[tokio::test]
async fn marks_of_several_batches_are_written_although_one_is_stuck() {
    let mut config = config();
    config.max_mark_batch = 4;
    config.request_timeout = std::time::Duration::from_millis(50);
    let (_engine, store, alice) = faulty(config).await;
    let mut groups = Vec::new();
    for n in 0..9 {
        groups.push(create_group(&alice, &format!("group {n}")).await);
    }
    let stuck = groups[2];
    store.set_marks_stuck(Some(stuck));
    for group in &groups {
        alice.execute(acknowledge(*group, Seq(1))).await.unwrap();
    }
    let cursor = async |group| info(&alice, ConversationRef::Id(group)).await.cursor;
    let written = async |group| {
        while cursor(group).await < Seq(1) {
            tokio::task::yield_now().await;
        }
    };
    for group in groups.into_iter().filter(|group| *group != stuck) {
        written(group).await;
    }
    assert_eq!(cursor(stuck).await, Seq::ZERO);
    store.set_marks_stuck(None);
    written(stuck).await;
    assert!(store.largest_marks() <= 4, "{}", store.largest_marks());
}

#[tokio::test(start_paused = true)]
async fn marks_of_a_replaced_session_are_not_written() {
    let (engine, _store, alice) = faulty(config()).await;
    let conversation = info(&alice, direct(&alice)).await.id;
    let old = alice.caller();
    let newer = engine.session(old.user, old.device().unwrap()).await.unwrap();
    let acknowledged = engine.execute(old, acknowledge(conversation, Seq(1))).await;
    assert_eq!(error_code(acknowledged), ReplyCode::Fenced);
    let sent = newer.send_text(direct(&newer), "second").await.unwrap();
    let read_mark = engine.execute(old, mark_read(conversation, sent.seq)).await;
    assert_eq!(error_code(read_mark), ReplyCode::Fenced);
    let cursor = async || {
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        info(&newer, direct(&newer)).await.cursor
    };
    assert_eq!(cursor().await, Seq::ZERO);
    // A mark of the current session is written within the same time.
    newer.execute(acknowledge(conversation, Seq(1))).await.unwrap();
    assert_eq!(cursor().await, Seq(1));
}

/// Views obey the rule of receipts: a user who would not receive the receipts of a peer does not
/// see the marks of this peer in a view either.
#[tokio::test]
async fn ended_relation_hides_marks_from_every_view() {
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
        receipt(&alice, (Seq(1), Seq(1))).await;
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
    for valid in [false, true] {
        if valid {
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
async fn marks_for_unknown_conversations_are_refused() {
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

/// A command sees the marks of earlier commands, although marks are written in batches.
#[tokio::test]
async fn next_command_sees_a_mark() {
    let mut config = config();
    config.mark_flush_interval = std::time::Duration::from_secs(3600);
    let engine = builder().config(config).build().await.unwrap();
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    befriend(&alice, &bob).await;
    for n in 1..=3 {
        let sent = alice.send_text(direct(&bob), "hi").await.unwrap();
        bob.execute(mark_read(sent.conversation, sent.seq)).await.unwrap();
        bob.execute(acknowledge(sent.conversation, sent.seq)).await.unwrap();
        let single = info(&bob, direct(&alice)).await;
        let listed = bob.conversations().await.unwrap();
        let listed = listed.into_iter().find(|info| info.id == single.id).unwrap();
        for view in [single, listed] {
            assert_eq!((view.read_seq, view.cursor, view.unread), (Seq(n), Seq(n), 0));
        }
    }
    let group = create_group(&alice, "crowd").await;
    join(&bob, group).await;
    let sent = alice.send_text(ConversationRef::Id(group), "hi").await.unwrap();
    bob.execute(mark_read(group, sent.seq)).await.unwrap();
    let members = bob.members(ConversationRef::Id(group), UserId(0), 10).await.unwrap();
    assert!(members.members.iter().any(|member| member.read_seq == sent.seq));
}

/// A mark beyond the end counts as the end at the time of the command, even if it is written after
/// further events were appended.
#[tokio::test]
async fn mark_beyond_the_end_does_not_cover_later_events() {
    let mut config = config();
    config.mark_flush_interval = std::time::Duration::from_secs(3600);
    let engine = builder().config(config).build().await.unwrap();
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    befriend(&alice, &bob).await;
    let acting = engine.acting_as(id(&bob));
    for (n, seq) in [Seq(2), Seq(5_000), Seq(i64::MAX as u64), Seq(u64::MAX)]
        .into_iter()
        .enumerate()
    {
        let sent = alice.send_text(direct(&bob), "before the marks").await.unwrap();
        bob.execute(acknowledge(sent.conversation, seq)).await.unwrap();
        if n % 2 == 0 {
            bob.execute(mark_read(sent.conversation, seq)).await.unwrap();
        } else {
            acting.execute(mark_read(sent.conversation, seq)).await.unwrap();
        }
        alice.send_text(direct(&bob), "after the marks").await.unwrap();
        let view = info(&bob, direct(&alice)).await;
        assert_eq!(
            (view.read_seq, view.cursor, view.unread),
            (sent.seq, sent.seq, 1),
            "{seq:?}"
        );
    }
}

/// A caller without a device has no session that follows conversations.
#[tokio::test]
async fn marks_of_caller_without_device_are_all_written() {
    const GROUPS: usize = 200;
    let mut config = config();
    config.mark_flush_interval = std::time::Duration::from_secs(3600);
    config.group_creation_rate = Rate::UNLIMITED;
    let engine = builder().config(config).build().await.unwrap();
    let alice = new_user(&engine, "alice").await;
    let mut groups = Vec::new();
    for n in 0..GROUPS {
        groups.push(create_group(&alice, &format!("group {n}")).await);
    }
    let acting = engine.acting_as(id(&alice));
    for group in groups {
        acting.execute(mark_read(group, Seq(1))).await.unwrap();
    }
    let listed = alice.conversations().await.unwrap();
    let read = listed
        .iter()
        .filter(|info| info.role == Role::Owner && info.read_seq == Seq(1));
    assert_eq!(read.count(), GROUPS);
}

/// Views write the marks of their user early, but a client that sends marks and views in turn does
/// not cause a write for each of them.
#[tokio::test(start_paused = true)]
async fn views_after_marks_cause_a_bounded_number_of_writes() {
    let mut config = config();
    config.mark_flush_interval = Duration::from_secs(3600);
    let (_engine, store, alice) = faulty(config).await;
    for n in 0..200 {
        alice.send_text(direct(&alice), &n.to_string()).await.unwrap();
    }
    let conversation = info(&alice, direct(&alice)).await.id;
    let start = tokio::time::Instant::now();
    for n in 1..=200 {
        alice.execute(acknowledge(conversation, Seq(n))).await.unwrap();
        assert_eq!(info(&alice, direct(&alice)).await.cursor, Seq(n));
    }
    // Views cause at most one write every 20 ms (`MIN_AWAITED_INTERVAL`); two more are a margin.
    let allowed = 2 + start.elapsed().as_millis() as u64 / 20;
    assert!(store.mark_writes() <= allowed, "{} of {allowed}", store.mark_writes());
}

/// While marks cannot be written, only the first view waits for them.
#[tokio::test(start_paused = true)]
async fn views_do_not_wait_again_for_marks_that_cannot_be_written() {
    for is_stuck in [false, true] {
        let mut config = config();
        config.mark_flush_interval = Duration::from_millis(200);
        let (_engine, store, alice) = faulty(config).await;
        let conversation = info(&alice, direct(&alice)).await.id;
        if is_stuck {
            store.set_marks_stuck(Some(conversation));
        } else {
            store.set_marks_failing(true);
        }
        alice.execute(acknowledge(conversation, Seq(1))).await.unwrap();
        let start = tokio::time::Instant::now();
        for _ in 0..20 {
            assert_eq!(info(&alice, direct(&alice)).await.cursor, Seq::ZERO);
        }
        let elapsed = start.elapsed();
        // A view waits for marks for at most one second (`MARKS_WRITE_TIMEOUT`).
        assert!(elapsed < Duration::from_millis(1100), "{elapsed:?}, stuck: {is_stuck}");
        store.set_marks_stuck(None);
        store.set_marks_failing(false);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(info(&alice, direct(&alice)).await.cursor, Seq(1));
    }
}

#[tokio::test]
async fn view_waits_for_the_marks_of_its_user_although_others_fail() {
    let mut config = config();
    config.max_mark_batch = 1;
    config.request_timeout = Duration::from_millis(50);
    let (engine, store, alice) = faulty(config).await;
    let bob = new_user(&engine, "bob").await;
    let stuck = info(&alice, direct(&alice)).await.id;
    let sent = bob.send_text(direct(&bob), "hi").await.unwrap();
    store.set_marks_stuck(Some(stuck));
    for _ in 0..3 {
        let sent_later = bob.send_text(direct(&bob), "hi").await.unwrap();
        alice.execute(acknowledge(stuck, Seq(1))).await.unwrap();
        bob.execute(acknowledge(sent.conversation, sent_later.seq))
            .await
            .unwrap();
        assert_eq!(info(&bob, direct(&bob)).await.cursor, sent_later.seq);
    }
}
