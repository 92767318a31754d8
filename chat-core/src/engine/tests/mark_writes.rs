//! Tests of when marks (cursors of devices and read marks of users) are written, and of views:
//! answers that contain a user's marks, and so wait until the queued ones are written.

use std::time::Duration;

use super::marks::{acknowledge, mark_read};
use super::support::*;
use crate::commands::Commands;
use crate::model::*;
use crate::rate::Rate;

#[tokio::test]
async fn marks_are_written_at_shutdown() {
    let mut config = config();
    config.mark_flush_interval = Duration::from_secs(3600);
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

/// A client disconnects right after its last marks, and the server is stopped at the same time.
#[tokio::test]
async fn marks_of_a_caller_that_does_not_wait_are_written_at_shutdown() {
    let mut config = config();
    config.mark_flush_interval = Duration::from_secs(3600);
    let engine = builder().config(config).build().await.unwrap();
    let alice = new_user(&engine, "alice").await;
    let sent = alice.send_text(direct(&alice), "x").await.unwrap();
    // This device has received no event, so the engine asks the store about its marks.
    let laptop = engine.session(id(&alice), DeviceId::random()).await.unwrap();
    let caller = laptop.caller();
    for mark in [
        acknowledge(sent.conversation, sent.seq),
        mark_read(sent.conversation, sent.seq),
    ] {
        drop(engine.execute(caller, mark));
    }
    drop(laptop);
    engine.shutdown().await;
    let store = engine.parts.access.store();
    let device = caller.device().unwrap();
    let membership = store.membership(caller.user, device, sent.conversation).await.unwrap();
    let membership = membership.unwrap();
    assert_eq!((membership.cursor, membership.member.read_seq), (Seq(1), Seq(1)));
}

#[tokio::test(start_paused = true)]
async fn marks_for_unknown_conversations_do_not_displace_others() {
    let mut config = config();
    config.mark_flush_interval = Duration::from_secs(1);
    let (engine, _store, alice) = engine_on_faulty_store(config).await;
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
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(info(&alice, direct(&alice)).await.cursor, Seq(1));
}

/// A mark whose row is locked delays the other marks of its transaction only for a limited time.
#[tokio::test]
async fn marks_of_several_batches_are_written_although_one_is_stuck() {
    let mut config = config();
    config.max_mark_batch = 4;
    config.request_timeout = Duration::from_millis(50);
    let (_engine, store, alice) = engine_on_faulty_store(config).await;
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
    assert!(store.largest_mark_batch() <= 4, "{}", store.largest_mark_batch());
}

#[tokio::test(start_paused = true)]
async fn marks_of_a_replaced_session_are_not_written() {
    let (engine, _store, alice) = engine_on_faulty_store(config()).await;
    let conversation = info(&alice, direct(&alice)).await.id;
    let old = alice.caller();
    let newer = engine.session(old.user, old.device().unwrap()).await.unwrap();
    let acknowledged = engine.execute(old, acknowledge(conversation, Seq(1))).await;
    assert_eq!(error_code(acknowledged), ReplyCode::Fenced);
    let sent = newer.send_text(direct(&newer), "second").await.unwrap();
    let read_mark = engine.execute(old, mark_read(conversation, sent.seq)).await;
    assert_eq!(error_code(read_mark), ReplyCode::Fenced);
    let cursor = async || {
        tokio::time::sleep(Duration::from_secs(3)).await;
        info(&newer, direct(&newer)).await.cursor
    };
    assert_eq!(cursor().await, Seq::ZERO);
    // A mark of the current session is written within the same time.
    newer.execute(acknowledge(conversation, Seq(1))).await.unwrap();
    assert_eq!(cursor().await, Seq(1));
}

/// A command sees the marks of earlier commands, although marks are written in batches.
#[tokio::test]
async fn next_command_sees_a_mark() {
    let mut config = config();
    config.mark_flush_interval = Duration::from_secs(3600);
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
    config.mark_flush_interval = Duration::from_secs(3600);
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

/// A caller without a device has no session, so the store, not the router, says how far each of its
/// marks may go.
#[tokio::test]
async fn marks_of_caller_without_device_are_all_written() {
    const GROUPS: usize = 200;
    let mut config = config();
    config.mark_flush_interval = Duration::from_secs(3600);
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

/// A view has the queued marks of its user written early, but a client that sends marks and asks
/// for views in turn does not cause a write for each mark.
#[tokio::test(start_paused = true)]
async fn views_after_marks_cause_a_bounded_number_of_writes() {
    let mut config = config();
    config.mark_flush_interval = Duration::from_secs(3600);
    let (_engine, store, alice) = engine_on_faulty_store(config).await;
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
        let (_engine, store, alice) = engine_on_faulty_store(config).await;
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
async fn view_waits_for_the_marks_of_its_user_although_those_of_another_are_stuck() {
    let mut config = config();
    config.max_mark_batch = 1;
    config.request_timeout = Duration::from_millis(50);
    let (engine, store, alice) = engine_on_faulty_store(config).await;
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
