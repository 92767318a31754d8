//! Tests with a store that fails, hangs, is full, does not answer after a commit, or has another
//! time than the node.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::pipelining::{TRY_AGAIN, codes, drafts, send};
use super::support::*;
use crate::clock::{Clock as _, SystemClock};
use crate::commands::Commands;
use crate::engine::{EngineConfig, LocalSession};
use crate::model::*;

/// Sends a draft to the user's notes until it is acknowledged, like the client library.
async fn send_until_acknowledged(session: &LocalSession, draft: Draft) -> Appended {
    loop {
        match session.send(direct(session), draft.clone()).await {
            Ok(appended) => return appended,
            Err(error) => assert!(matches!(error.code, ReplyCode::TryAgain | ReplyCode::Busy), "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn retry_after_a_lost_answer_finds_the_message() {
    let (_engine, store, alice) = engine_on_faulty_store(config()).await;
    store.fail_after_commit();
    let sent = alice
        .send_text(direct(&alice), "committed, but the answer is lost")
        .await
        .unwrap();
    assert_eq!((sent.seq, sent.duplicate), (Seq(2), true));
    store.fail_before_commit();
    let sent = alice.send_text(direct(&alice), "not committed").await.unwrap();
    assert_eq!((sent.seq, sent.duplicate), (Seq(3), false));
    store.fail_overloaded();
    alice.send_text(direct(&alice), "overloaded").await.unwrap();
    assert_eq!(history(&alice, direct(&alice)).await.events.len(), 4);
    for seq in 1..=4 {
        assert_eq!(
            wait_for_event(&alice, EventKind::Message).await.seq,
            Seq(seq),
            "alice receives each event once, in order"
        );
    }
}

/// Other transactions may repeatedly use the idempotency keys of a batch at the same time. The
/// batch is then retried, and the sender does not get an internal error.
#[tokio::test]
async fn batch_is_retried_while_other_transactions_use_its_keys() {
    let (_engine, store, alice) = engine_on_faulty_store(config()).await;
    for collisions in 1..=3 {
        (0..collisions).for_each(|_| store.fail_already_sent());
        let sends = ["a", "b", "c", "d", "e"].map(|text| alice.send_text(direct(&alice), text));
        for sent in join_all(sends).await {
            assert!(!sent.unwrap().duplicate);
        }
    }
    store.fail_already_sent();
    alice.execute(create_group_command("friends")).await.unwrap();

    let (_engine, store, alice) = engine_on_faulty_store(short_timeouts()).await;
    (0..100).for_each(|_| store.fail_already_sent());
    let sends = ["one", "two"].map(|text| alice.send_text(direct(&alice), text));
    for sent in join_all(sends).await {
        assert_eq!(error_code(sent), ReplyCode::Busy, "nothing was stored");
    }
}

#[tokio::test]
async fn send_to_a_full_store_is_answered_busy_because_nothing_was_written() {
    let (_engine, store, alice) = engine_on_faulty_store(config()).await;
    store.fail_full();
    let draft = draft("x");
    let refused = alice.send(direct(&alice), draft.clone()).await;
    assert_eq!(error_code(refused), ReplyCode::Busy);
    alice.send(direct(&alice), draft).await.unwrap();
}

#[tokio::test]
async fn commands_during_an_outage_are_answered_in_time_and_the_engine_recovers() {
    let (engine, store, alice) = engine_on_faulty_store(short_timeouts()).await;
    store.set_unavailable(true);
    let started = Instant::now();
    let refused = alice.send_text(direct(&alice), "x").await.unwrap_err();
    assert_eq!(refused.code, ReplyCode::TryAgain);
    assert!(refused.retry_after.is_some());
    for _ in 0..10 {
        assert_eq!(error_code(alice.execute(list_contacts()).await), ReplyCode::TryAgain);
    }
    assert!(started.elapsed() < Duration::from_secs(2));
    store.set_unavailable(false);
    send_until_acknowledged(&alice, draft("back")).await;
    assert_eq!(texts(&history(&alice, direct(&alice)).await), ["first", "back"]);
    engine.shutdown().await;
}

#[tokio::test]
async fn sends_time_out_while_the_store_hangs() {
    let (engine, store, alice) = engine_on_faulty_store(short_timeouts()).await;
    let held = store.hold();
    let sends = (0..20).map(|n| {
        let alice = &alice;
        async move { alice.send_text(direct(alice), &n.to_string()).await }
    });
    let started = Instant::now();
    let answers = join_all(sends).await;
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Err(error) if error.code == ReplyCode::TryAgain))
    );
    assert!(started.elapsed() < Duration::from_secs(2));
    drop(held);
    send_until_acknowledged(&alice, draft("back")).await;
    engine.shutdown().await;
}

/// After a send with an unknown outcome, no later draft overtakes its retry.
#[tokio::test]
async fn send_order_survives_an_outage() {
    let (_engine, store, alice) = engine_on_faulty_store(short_timeouts()).await;
    let (notes, drafts) = (direct(&alice), drafts(1..=300));
    let (early, late) = drafts.split_at(150);
    store.set_unavailable(true);
    assert_eq!(codes(send(&alice, &notes, early)).await, [TRY_AGAIN; 150]);
    store.set_unavailable(false);
    while alice.execute(list_contacts()).await.is_err() {
        tokio::task::yield_now().await;
    }
    // The client has sent these before it received the refusals.
    assert_eq!(codes(send(&alice, &notes, late)).await, [TRY_AGAIN; 150]);
    let mut refused = drafts;
    while !refused.is_empty() {
        let mut answers = codes(send(&alice, &notes, &refused)).await.into_iter();
        refused.retain(|_| answers.next() != Some(0));
    }
    let expected = std::iter::once("first".to_owned()).chain((1..=300).map(|n| n.to_string()));
    assert_eq!(texts(&history(&alice, notes).await), Vec::from_iter(expected));
}

#[tokio::test]
async fn full_lane_answers_busy() {
    let mut config = config();
    config.max_queued_drafts_per_conversation = 128;
    let (_engine, store, alice) = engine_on_faulty_store(config).await;
    let held = store.hold();
    let answers: Vec<_> = (0..1000)
        .map(|n| {
            alice.execute(Command::Send {
                conversation: direct(&alice),
                draft: draft(&n.to_string()),
            })
        })
        .collect();
    let release = async {
        tokio::task::yield_now().await;
        drop(held);
    };
    let (answers, ()) = tokio::join!(join_all(answers), release);
    let busy = answers
        .iter()
        .filter(|answer| matches!(answer, Err(error) if error.code == ReplyCode::Busy))
        .count();
    let sent = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(busy + sent, 1000);
    assert!(busy > 0 && sent >= 128, "{busy} busy, {sent} sent");
    assert_eq!(history(&alice, direct(&alice)).await.last_seq, Seq(1 + sent as u64));
}

#[tokio::test]
async fn marks_outlast_an_outage() {
    let (engine, store, alice) = engine_on_faulty_store(short_timeouts()).await;
    let conversation = info(&alice, direct(&alice)).await.id;
    store.set_unavailable(true);
    let acknowledge = Command::Acknowledge {
        conversation,
        seq: Seq(1),
    };
    alice.execute(acknowledge).await.unwrap();
    assert_eq!(error_code(alice.execute(list_contacts()).await), ReplyCode::TryAgain);
    store.set_unavailable(false);
    let written = async {
        loop {
            if alice.execute(list_contacts()).await.is_ok() && info(&alice, direct(&alice)).await.cursor == Seq(1) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), written).await.unwrap();
    engine.shutdown().await;
}

#[tokio::test]
async fn login_is_refused_while_the_store_is_unavailable() {
    let (engine, store, alice) = engine_on_faulty_store(short_timeouts()).await;
    store.set_unavailable(true);
    let login = engine.login(Source::Local, login(id(&alice), DeviceId::random())).await;
    assert_eq!(error_code(login), ReplyCode::TryAgain);
}

/// `Busy` promises that nothing was stored. After an attempt without an answer, the engine cannot
/// promise this.
#[tokio::test]
async fn possibly_stored_draft_is_never_answered_busy() {
    let (_engine, store, alice) = engine_on_faulty_store(short_timeouts()).await;
    let unclear = draft("stored without an answer");
    store.fail_after_commit();
    // More faults than there are attempts before the deadline.
    (0..64).for_each(|_| store.fail_overloaded());
    let answer = alice.send(direct(&alice), unclear.clone()).await;
    assert_eq!(error_code(answer), ReplyCode::TryAgain);
    store.clear_commit_faults();
    assert_eq!(send_until_acknowledged(&alice, unclear).await.seq, Seq(2));
    // If the store refused every attempt, the answer is `Busy`.
    (0..64).for_each(|_| store.fail_overloaded());
    assert_eq!(error_code(alice.send_text(direct(&alice), "x").await), ReplyCode::Busy);
    store.clear_commit_faults();
    assert_eq!(history(&alice, direct(&alice)).await.last_seq, Seq(2));
}

/// Reads and sends continue while the store rejects marks only, for example because the tables of
/// the marks are read-only.
#[tokio::test(start_paused = true)]
async fn reads_and_sends_continue_while_marks_cannot_be_written() {
    let mut config = config();
    config.mark_flush_interval = EngineConfig::default().mark_flush_interval;
    let (_engine, store, alice) = engine_on_faulty_store(config).await;
    let conversation = info(&alice, direct(&alice)).await.id;
    store.set_marks_failing(true);
    let seq = Seq(1);
    alice.execute(Command::Acknowledge { conversation, seq }).await.unwrap();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(97)).await;
        alice.execute(list_contacts()).await.unwrap();
        alice.send_text(direct(&alice), "and written").await.unwrap();
    }
    store.set_marks_failing(false);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(info(&alice, direct(&alice)).await.cursor, seq);
}

/// Sends to a conversation with a locked row are answered at their deadline. Other conversations
/// are not affected.
#[tokio::test]
async fn stuck_conversation_does_not_block_others() {
    let mut config = short_timeouts();
    config.request_timeout = Duration::from_millis(30);
    // If the breaker opened, it would refuse the sends of bob for longer than this test waits.
    config.breaker_probe_interval = Duration::from_secs(60);
    let (engine, store, alice) = engine_on_faulty_store(config).await;
    let bob = new_user(&engine, "bob").await;
    for _ in 0..20 {
        store.fail_hanging();
        assert_eq!(
            error_code(alice.send_text(direct(&alice), "x").await),
            ReplyCode::TryAgain
        );
    }
    let sent = tokio::time::timeout(
        Duration::from_secs(20),
        send_until_acknowledged(&bob, draft("not stuck")),
    );
    sent.await.expect("the stuck conversation of alice blocks bob");
}

/// Returns the kinds of the events that `session` receives until three seconds pass without a push.
async fn received_kinds(session: &LocalSession) -> Vec<EventKind> {
    let mut kinds = Vec::new();
    while let Ok(push) = tokio::time::timeout(Duration::from_secs(3), session.next_push()).await {
        if let Some(Push::Event(event)) = push {
            kinds.push(event.kind);
        }
    }
    kinds
}

/// The caller does not retry after a lost answer; the recipients receive the event nevertheless.
#[tokio::test(start_paused = true)]
async fn commit_without_an_answer_is_delivered() {
    let (engine, store, alice) = engine_on_faulty_store(config()).await;
    let bob = new_user(&engine, "bob").await;
    let carol = new_user(&engine, "carol").await;
    befriend(&alice, &bob).await;
    let group = ConversationRef::Id(create_group(&alice, "harbour").await);
    let id = info(&alice, group.clone()).await.id;
    received_kinds(&bob).await;
    let join = |group: &ConversationRef| Command::JoinGroup {
        group: group.clone(),
        note: Note::default(),
    };
    let unanswered = async |session: &LocalSession, command: Command| {
        // A success resets the failure count of the breaker.
        alice.send_text(direct(&alice), "all is well").await.unwrap();
        store.fail_after_commit();
        let answer = session.execute(command).await;
        assert_eq!(error_code(answer), ReplyCode::TryAgain);
    };

    unanswered(&bob, join(&group)).await;
    assert_eq!(received_kinds(&bob).await, [EventKind::MemberJoined]);
    let rename = Command::UpdateGroup {
        group: group.clone(),
        changes: GroupChanges {
            name: Some(GroupName::parse("renamed").unwrap()),
            ..GroupChanges::default()
        },
    };
    unanswered(&alice, rename).await;
    assert_eq!(received_kinds(&bob).await, [EventKind::GroupUpdated]);
    let mute = Command::MuteMember {
        group: group.clone(),
        user: user(&bob),
        duration_ms: 60_000,
    };
    unanswered(&alice, mute).await;
    assert_eq!(received_kinds(&bob).await, [EventKind::MemberMuted]);
    let kick = Command::KickMember {
        group: group.clone(),
        user: user(&bob),
        ban: false,
    };
    unanswered(&alice, kick).await;
    assert!(received_kinds(&bob).await.contains(&EventKind::MemberKicked));
    let request = Command::RequestFriend {
        user: user(&carol),
        note: Note::default(),
    };
    unanswered(&bob, request).await;
    assert_eq!(received_kinds(&carol).await, [EventKind::FriendRequested]);
    let accept = Command::AnswerFriend {
        user: user(&bob),
        accept: true,
    };
    unanswered(&carol, accept).await;
    assert!(received_kinds(&bob).await.contains(&EventKind::FriendAnswered));
    // No attempt is still being repeated: the next event follows the last one.
    let last = info(&alice, ConversationRef::Id(id)).await.last_seq;
    let appended = alice.send(ConversationRef::Id(id), draft("the end")).await.unwrap();
    assert_eq!(appended.seq, last.next());
}

/// The unit of work that opens the conversation starts when most of the time of the request has
/// passed.
#[tokio::test]
async fn conversation_opened_without_an_answer_is_delivered_after_a_slow_lookup() {
    let (engine, store, alice) = engine_on_faulty_store(short_timeouts()).await;
    let bob = new_user(&engine, "bob").await;
    befriend(&alice, &bob).await;
    tokio::time::pause();
    store.fail_hanging_after_commit();
    let held = store.hold();
    let sending = tokio::spawn(alice.execute(Command::Send {
        conversation: direct(&bob),
        draft: draft("first"),
    }));
    tokio::time::sleep(Duration::from_millis(150)).await;
    drop(held);
    assert_eq!(error_code(sending.await.unwrap()), ReplyCode::TryAgain);
    // The conversation was committed nevertheless. Before the router's next sweep, in which it
    // compares the conversations and users that it serves with the store, only the tracking of
    // unconfirmed commits finds it.
    let opened = wait_for_event(&bob, EventKind::ConversationOpened);
    let opened = tokio::time::timeout(Duration::from_secs(5), opened).await;
    opened.expect("the peer did not receive the event");
}

/// A sender's session ends after every answer to its send was lost.
#[tokio::test]
async fn message_of_a_departed_sender_is_delivered_after_a_lost_answer() {
    let (engine, store, alice) = engine_on_faulty_store(short_timeouts()).await;
    let bob = new_user(&engine, "bob").await;
    befriend(&alice, &bob).await;
    alice.send_text(direct(&bob), "hello").await.unwrap();
    while message(&wait_for_event(&bob, EventKind::Message).await).as_deref() != Some("hello") {}
    // More faults than there are attempts before the deadline.
    for _ in 0..64 {
        store.fail_after_commit();
    }
    let lost = alice.send_text(direct(&bob), "last message").await;
    assert_eq!(error_code(lost), ReplyCode::TryAgain);
    drop(alice);
    let received = tokio::time::timeout(Duration::from_secs(3), wait_for_event(&bob, EventKind::Message));
    assert_eq!(message(&received.await.unwrap()).as_deref(), Some("last message"));
}

#[tokio::test(start_paused = true)]
async fn node_with_a_wrong_clock_refuses_logins_and_registrations() {
    let (engine, store, alice) = engine_on_faulty_store(config()).await;
    let (user, device) = (id(&alice), DeviceId::random());
    engine.login(Source::Local, login(user, device)).await.unwrap();
    store.set_time(Some(Timestamp(0)));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let refused = engine.login(Source::Local, login(user, device)).await;
    assert_eq!(error_code(refused), ReplyCode::TryAgain);
    let refused = engine.register(Source::Local, registration("late")).await;
    assert_eq!(error_code(refused), ReplyCode::TryAgain);
    alice
        .send_text(direct(&alice), "existing sessions continue")
        .await
        .unwrap();
    store.set_time(Some(SystemClock.now()));
    tokio::time::sleep(Duration::from_secs(3)).await;
    engine.login(Source::Local, login(user, device)).await.unwrap();
}

/// All reads and writes for the creation of a group share the one deadline of the request.
#[tokio::test(start_paused = true)]
async fn group_creation_is_answered_in_time_during_an_outage() {
    let (_engine, store, alice) = engine_on_faulty_store(config()).await;
    let held = store.hold();
    let started = tokio::time::Instant::now();
    let answer = alice.execute(create_group_command("rust")).await;
    assert_eq!(error_code(answer), ReplyCode::TryAgain);
    let took = started.elapsed();
    // The default of `request_timeout` is 5 s.
    assert!(took < Duration::from_millis(5100), "{took:?}");
    drop(held);
    alice.execute(create_group_command("rust")).await.unwrap();
}
