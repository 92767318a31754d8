//! Tests of the machine: how it forms batches, runs changes, passes drafts to hooks and aborts,
//! and that drafts of one session in one conversation are stored in the order sent, even if some
//! are refused temporarily. A draft `in_flight` is one that the client has sent before it received
//! the refusal of an earlier draft.

use super::*;
use crate::engine::workers::appender::machine::Preparation;

/// Returns the next work of the machine, which must be a preparation.
fn preparation(appender: &mut Appender) -> Preparation {
    match appender.work() {
        Some(Work::Prepare(preparation)) => *preparation,
        _ => panic!("not a preparation"),
    }
}

#[test]
fn machine_commits_waiting_drafts_in_one_batch() {
    let mut appender = Appender::new(LIMITS);
    let mut replies = appender.send(session(1), KNOWN, 1..=3);
    replies.extend(appender.send(session(2), KNOWN, 4..=5));
    let work = appender.work().unwrap();
    assert!(appender.work().is_none(), "one transaction at a time");
    replies.extend(appender.send(session(1), KNOWN, 6..=7));
    assert!(appender.work().is_none());
    let done = appender.commit(&work);
    appender.finish(done);
    assert_eq!(appender.stored_in(KNOWN), [1, 2, 3, 4, 5]);
    appender.run();
    assert_eq!(codes(replies), [0; 7]);
    assert_eq!(appender.stored_in(KNOWN), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(appender.queue.queued_bytes(), 0);
}

#[test]
fn machine_cuts_batches_at_the_maximum_number_of_drafts() {
    let mut appender = Appender::new(LaneLimits {
        max_batch_drafts: 2,
        ..LIMITS
    });
    let replies = appender.send(session(1), KNOWN, 1..=5);
    let mut sizes = Vec::new();
    while let Some(work) = appender.work() {
        let Work::Commit { drafts, .. } = &work else { panic!() };
        sizes.push(drafts.len());
        let done = appender.commit(&work);
        appender.finish(done);
    }
    assert_eq!(sizes, [2, 2, 1]);
    assert_eq!(codes(replies), [0; 5]);
}

#[test]
fn change_runs_alone_and_in_queue_order() {
    let mut appender = Appender::new(LIMITS);
    let mut replies = appender.send(session(1), KNOWN, 1..=2);
    let deadline = appender.now + RESEND_WINDOW;
    let conversation = ConversationRef::Id(KNOWN);
    let mut ran = appender
        .queue
        .submit_change(session(1), conversation, None, change(), deadline);
    replies.extend(appender.send(session(1), KNOWN, 3..=3));
    let work = appender.work().unwrap();
    let done = appender.commit(&work);
    appender.finish(done);
    assert_eq!(appender.stored_in(KNOWN), [1, 2]);
    let Some(Work::Run { found, .. }) = appender.work() else {
        panic!("the change is next");
    };
    assert!(appender.work().is_none() && code(&mut ran).is_none());
    appender.finish(Done::Ran {
        conversation: found.id,
        result: Ok(Outcome::Done),
    });
    assert_eq!(code(&mut ran), Some(0));
    appender.run();
    assert_eq!(appender.stored_in(KNOWN), [1, 2, 3]);
    assert_eq!(codes(replies), [0; 3]);
}

#[test]
fn batch_after_one_with_retries_looks_for_stored_drafts_first() {
    let mut appender = Appender::new(LIMITS);
    let looks = |appender: &mut Appender| {
        let replies = appender.send(session(1), KNOWN, 1..=1);
        let work = appender.work().unwrap();
        // While another draft waits, the lane is not removed.
        let next = appender.send(session(1), KNOWN, 2..=2);
        appender.take();
        let Work::Commit { look_first, .. } = work else {
            panic!()
        };
        let done = appender.commit(&work);
        appender.finish(done);
        drop((replies, next));
        look_first
    };
    assert!(!looks(&mut appender));
    appender.run();
    assert!(!looks(&mut appender), "no batch had a retry before");
    assert!(looks(&mut appender), "the last batch had a retry");
}

#[test]
fn draft_in_flight_does_not_overtake_one_whose_commit_failed() {
    let mut appender = Appender::new(LIMITS);
    let alice = session(1);
    let refused = appender.send(alice, KNOWN, 1..=2);
    let work = appender.work().unwrap();
    let waiting = appender.send(alice, KNOWN, 3..=3);
    appender.take();
    appender.finish(failed(&work, CommandError::try_again()));
    appender.run();
    assert_eq!(codes(refused), [TRY_AGAIN; 2]);
    assert_eq!(codes(waiting), [TRY_AGAIN], "the draft waited in the lane");
    let in_flight = appender.send(alice, KNOWN, 4..=4);
    appender.run();
    assert_eq!(codes(in_flight), [TRY_AGAIN]);
    let out_of_order = appender.send(alice, KNOWN, 2..=2);
    appender.run();
    assert_eq!(codes(out_of_order), [TRY_AGAIN], "draft 1 must be stored first");
    let elsewhere = appender.send(alice, ConversationId(2), 9..=9);
    let others = appender.send(session(2), KNOWN, 8..=8);
    appender.run();
    assert_eq!(codes(elsewhere), [0]);
    assert_eq!(codes(others), [0]);
    let resent = appender.send(alice, KNOWN, 1..=5);
    appender.run();
    assert_eq!(codes(resent), [0; 5]);
    assert_eq!(appender.stored_in(KNOWN), [8, 1, 2, 3, 4, 5]);
}

#[test]
fn draft_does_not_overtake_one_refused_by_a_full_lane() {
    let mut appender = Appender::new(LaneLimits {
        max_batch_drafts: 2,
        max_queued_drafts_per_conversation: 2,
        ..LIMITS
    });
    let alice = session(1);
    let started = appender.send(alice, KNOWN, 1..=2);
    let work = appender.work().unwrap();
    let waiting = appender.send(alice, KNOWN, 3..=6);
    appender.take();
    assert!(appender.work().is_none());
    let done = appender.commit(&work);
    appender.finish(done);
    appender.run();
    assert_eq!(codes(started), [0, 0]);
    assert_eq!(codes(waiting), [0, 0, BUSY, BUSY]);
    let mut send = |numbers| {
        let replies = appender.send(alice, KNOWN, numbers);
        appender.run();
        codes(replies)
    };
    assert_eq!(send(7..=7), [BUSY]);
    assert_eq!(send(5..=6), [0, 0]);
    assert_eq!(send(8..=8), [BUSY]);
    assert_eq!(send(7..=8), [0, 0]);
    assert_eq!(appender.stored_in(KNOWN), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn draft_does_not_overtake_one_refused_by_a_full_queue() {
    let mut appender = Appender::new(LIMITS);
    appender.queue = AppendQueue::new(2048);
    let alice = session(1);
    let replies = appender.send(alice, KNOWN, 1..=6);
    appender.run();
    let first = codes(replies);
    let fit = first.iter().take_while(|code| **code == 0).count();
    assert!(
        (1..6).contains(&fit) && first[fit..].iter().all(|code| *code == BUSY),
        "{first:?}"
    );
    let mut send = |number| {
        let replies = appender.send(alice, KNOWN, [number]);
        appender.run();
        codes(replies)
    };
    assert_eq!(send(7), [BUSY]);
    for number in (1..=7).skip(fit) {
        assert_eq!(send(number), [0]);
    }
    assert_eq!(appender.stored_in(KNOWN), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(appender.queue.queued_bytes(), 0);
}

#[test]
fn draft_does_not_overtake_one_whose_lookup_failed() {
    let mut appender = Appender::new(LIMITS);
    let alice = session(1);
    let refused = appender.send(alice, UNKNOWN, 1..=2);
    let Preparation { sender, draft, .. } = preparation(&mut appender);
    assert!(draft.is_some() && appender.work().is_none(), "one lookup at a time");
    appender.finish(Done::Prepared {
        sender,
        result: Err(CommandError::try_again()),
    });
    assert_eq!(codes(refused), [TRY_AGAIN; 2]);
    let in_flight = appender.send(alice, UNKNOWN, 3..=3);
    appender.run();
    assert_eq!(codes(in_flight), [TRY_AGAIN]);
    let resent = appender.send(alice, UNKNOWN, 1..=3);
    appender.run();
    assert_eq!(codes(resent), [0; 3]);
    assert_eq!(appender.stored_in(UNKNOWN), [1, 2, 3]);
}

#[test]
fn draft_refused_by_a_full_queue_comes_after_those_that_wait_for_a_lookup() {
    let mut appender = Appender::new(LIMITS);
    appender.queue = AppendQueue::new(2048);
    let alice = session(1);
    let mut replies = appender.send(alice, UNKNOWN, 1..=4);
    let refused = replies.split_off(3);
    assert_eq!(codes(refused), [BUSY]);
    appender.run();
    assert_eq!(codes(replies), [0; 3], "these drafts were sent before the refused one");
    let in_flight = appender.send(alice, UNKNOWN, 5..=5);
    appender.run();
    assert_eq!(codes(in_flight), [BUSY]);
    let resent = appender.send(alice, UNKNOWN, 4..=5);
    appender.run();
    assert_eq!(codes(resent), [0; 2]);
    assert_eq!(appender.stored_in(UNKNOWN), [1, 2, 3, 4, 5]);
}

#[test]
fn permanently_refused_draft_delays_no_later_draft() {
    let mut appender = Appender::new(LIMITS);
    let mut replies = appender.send(session(1), UNKNOWN, 1..=3);
    let sender = preparation(&mut appender).sender;
    appender.finish(Done::Prepared {
        sender,
        result: Err(CommandError::not_found()),
    });
    appender.run();
    let rest = replies.split_off(1);
    assert_ne!(codes(replies), [0]);
    assert_eq!(codes(rest), [0, 0]);
    assert_eq!(appender.stored_in(UNKNOWN), [2, 3]);
}

#[test]
fn draft_with_an_internal_error_affects_its_session_only() {
    let mut appender = Appender::new(LIMITS);
    let (alice, bob) = (session(1), session(2));
    let mut refused = appender.send(alice, KNOWN, 1..=1);
    let stored = appender.send(bob, KNOWN, 7..=7);
    let work = appender.work().unwrap();
    refused.extend(appender.send(alice, KNOWN, 2..=2));
    let waiting = appender.send(bob, KNOWN, 8..=8);
    appender.take();
    appender.finish(Done::Committed {
        conversation: KNOWN,
        result: Ok(vec![Err(CommandError::internal()), Ok(super::appended(KNOWN, false))]),
    });
    drop(work);
    appender.run();
    assert_eq!(codes(refused), [INTERNAL, TRY_AGAIN]);
    assert_eq!(codes(stored), [0]);
    assert_eq!(codes(waiting), [0]);
    let resent = appender.send(alice, KNOWN, 1..=2);
    appender.run();
    assert_eq!(codes(resent), [0; 2]);
}

#[test]
fn session_may_send_new_drafts_after_the_resend_window() {
    let mut appender = Appender::new(LIMITS);
    let refused = appender.send(session(1), KNOWN, 1..=1);
    let work = appender.work().unwrap();
    appender.finish(failed(&work, CommandError::try_again()));
    assert_eq!(codes(refused), [TRY_AGAIN]);
    let mut send = |number| {
        let replies = appender.send(session(1), KNOWN, [number]);
        appender.run();
        let codes = codes(replies);
        appender.now += RESEND_WINDOW;
        codes
    };
    assert_eq!(send(2), [TRY_AGAIN]);
    assert_eq!(send(2), [0]);
    assert_eq!(appender.stored_in(KNOWN), [2]);
}

#[test]
fn hooks_see_drafts_in_their_order_and_may_rewrite_them() {
    let mut appender = Appender::new(LIMITS);
    let mut replies = Vec::new();
    for number in 1..=2 {
        let draft = draft(number);
        let queued = QueuedDraft::new(session(1), draft.clone());
        let deadline = appender.now + RESEND_WINDOW;
        let conversation = ConversationRef::Id(KNOWN);
        let reply = appender.queue.submit_draft(queued, Some(draft), conversation, deadline);
        replies.push(reply);
    }
    for expected in 1..=2 {
        let preparation = preparation(&mut appender);
        let (sender, original) = (preparation.sender, preparation.for_hooks.unwrap());
        let queued = preparation.draft.unwrap();
        assert_eq!((number(&queued), original), (expected, draft(expected)));
        let rewritten = queued.rewritten(draft(90 + expected).content);
        appender.finish(Done::Prepared {
            sender,
            result: Ok((found(KNOWN), Some(rewritten))),
        });
    }
    let work = appender.work().unwrap();
    let Work::Commit { drafts, .. } = &work else { panic!() };
    let bodies: Vec<_> = drafts.iter().map(|draft| draft.body.clone()).collect();
    let expected = [91, 92].map(|number| QueuedDraft::new(session(1), draft(number)).body);
    assert_eq!(bodies, expected);
    let done = appender.commit(&work);
    appender.finish(done);
    assert_eq!(codes(replies), [0; 2]);
}

/// Sends drafts to `conversation`, aborts in the state that `set_up` creates, resends the refused
/// drafts, and checks that all drafts are stored in order.
fn abort_in(conversation: ConversationId, set_up: impl FnOnce(&mut Appender)) {
    let mut appender = Appender::new(LIMITS);
    let alice = session(1);
    let mut replies = appender.send(alice, conversation, 1..=2);
    set_up(&mut appender);
    replies.extend(appender.send(alice, conversation, 3..=4));
    appender.take();
    appender.abort();
    let first = codes(replies);
    let stored = first.iter().take_while(|code| **code == 0).count();
    assert!(first[stored..].iter().all(|code| *code == TRY_AGAIN), "{first:?}");
    let in_flight = appender.send(alice, conversation, 5..=5);
    appender.run();
    assert_eq!(codes(in_flight), [TRY_AGAIN]);
    let resent = appender.send(alice, conversation, (1..=5).skip(stored));
    let others = appender.send(session(2), conversation, 9..=9);
    appender.run();
    assert!(codes(resent).iter().all(|code| *code == 0));
    assert_eq!(codes(others), [0]);
    let mut stored = appender.stored_in(conversation);
    stored.retain(|number| *number != 9);
    assert_eq!(stored, [1, 2, 3, 4, 5]);
    assert_eq!(appender.queue.queued_bytes(), 0);
}

#[test]
fn abort_keeps_the_order_of_drafts_in_every_stage() {
    abort_in(KNOWN, |_| {});
    abort_in(KNOWN, Appender::take);
    abort_in(KNOWN, |appender| drop(appender.work()));
    abort_in(KNOWN, |appender| {
        drop(appender.work());
        let _waiting = appender.send(session(3), KNOWN, 7..=7);
        drop(appender.work());
    });
    abort_in(UNKNOWN, |_| {});
    abort_in(UNKNOWN, |appender| drop(appender.work()));
    abort_in(KNOWN, |appender| {
        let work = appender.work().unwrap();
        let done = appender.commit(&work);
        appender.finish(done);
    });
    // The drafts are stored, but the answer to the commit is lost.
    abort_in(KNOWN, |appender| {
        let work = appender.work().unwrap();
        appender.commit(&work);
    });
}

#[test]
fn abort_keeps_earlier_refusals() {
    let mut appender = Appender::new(LIMITS);
    let (alice, bob) = (session(1), session(2));
    let refused = appender.send(alice, KNOWN, 1..=1);
    let work = appender.work().unwrap();
    appender.finish(failed(&work, CommandError::try_again()));
    assert_eq!(codes(refused), [TRY_AGAIN]);
    let lost = appender.send(bob, ConversationId(2), 9..=9);
    appender.take();
    appender.abort();
    assert_eq!(codes(lost), [TRY_AGAIN]);
    let in_flight = appender.send(alice, KNOWN, 2..=2);
    appender.run();
    assert_eq!(codes(in_flight), [TRY_AGAIN]);
    let resent = appender.send(alice, KNOWN, 1..=2);
    appender.run();
    assert_eq!(codes(resent), [0, 0]);
}

#[test]
fn machine_ignores_work_that_ends_after_an_abort() {
    let mut appender = Appender::new(LIMITS);
    let refused = appender.send(session(1), KNOWN, 1..=1);
    let work = appender.work().unwrap();
    appender.abort();
    let done = appender.commit(&work);
    appender.finish(done);
    assert_eq!(codes(refused), [TRY_AGAIN]);
    let resent = appender.send(session(1), KNOWN, 1..=2);
    appender.run();
    assert_eq!(codes(resent), [0, 0]);
    assert_eq!(appender.stored_in(KNOWN), [1, 2]);
}
