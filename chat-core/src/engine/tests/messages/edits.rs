//! Tests of edits and recalls.

use super::*;

#[tokio::test]
async fn edit_replaces_the_text_and_recall_erases_it() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    befriend(&alice, &bob).await;
    let sent = alice.send_text(direct(&bob), "first").await.unwrap();
    alice.send(direct(&bob), edit(sent.seq, "second")).await.unwrap();
    alice.send(direct(&bob), edit(sent.seq, "third")).await.unwrap();
    let page = history(&bob, direct(&alice)).await;
    assert_eq!(page.events[0].edited_text.as_deref(), Some("third"));

    assert_eq!(
        error_code(bob.send(direct(&alice), edit(sent.seq, "mine now")).await),
        ReplyCode::Forbidden
    );
    assert_eq!(
        error_code(bob.send(direct(&alice), recall(sent.seq)).await),
        ReplyCode::Forbidden
    );
    alice.send(direct(&bob), recall(sent.seq)).await.unwrap();
    let page = history(&bob, direct(&alice)).await;
    assert_eq!(page.events[0].event.recalled_seq, Some(Seq(4)));
    assert_eq!(page.events[0].edited_text, None);
    let stored = format!("{:?}", page.events);
    for erased in ["first", "second", "third"] {
        assert!(!stored.contains(erased), "the history still contains {erased:?}");
    }
    for late in [edit(sent.seq, "x"), recall(sent.seq)] {
        assert_eq!(
            error_code(alice.send(direct(&bob), late).await),
            ReplyCode::AlreadyRecalled
        );
    }
    let emoji = Emoji::new("👍").unwrap();
    let react = new_draft(DraftContent::React {
        target: sent.seq,
        emoji,
        remove: false,
    });
    assert_eq!(
        error_code(bob.send(direct(&alice), react).await),
        ReplyCode::AlreadyRecalled
    );
}

#[tokio::test]
async fn message_edit_and_recall_succeed_in_one_batch() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    alice.send_text(direct(&alice), "opens the conversation").await.unwrap();
    let drafts = [
        draft("secret"),
        edit(Seq(2), "secret too"),
        recall(Seq(2)),
        edit(Seq(2), "late"),
    ];
    let results = join_all(drafts.map(|draft| alice.send(direct(&alice), draft))).await;
    assert!(results[..3].iter().all(Result::is_ok), "{results:?}");
    assert_eq!(error_code(results[3].clone()), ReplyCode::AlreadyRecalled);
    let page = history(&alice, direct(&alice)).await;
    assert!(!format!("{page:?}").contains("secret"));
    assert_eq!(page.events.len(), 4);
}

/// Clock whose time, in milliseconds, the test sets.
#[derive(Debug)]
struct FakeClock(std::sync::atomic::AtomicI64);

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}

#[tokio::test]
async fn edit_and_recall_are_refused_after_the_window() {
    let clock = Arc::new(FakeClock(1_000_000_000_000.into()));
    let engine = builder().clock(clock.clone()).build().await.unwrap();
    let alice = new_user(&engine, "alice").await;
    let sent = alice.send_text(direct(&alice), "old").await.unwrap();
    // The default of `edit_window`, in milliseconds. The message's time is 1 ms after that of the
    // clock, because it follows the creation of the conversation in the same millisecond.
    let edit_window = 24 * 3600 * 1000;
    clock.0.fetch_add(edit_window, std::sync::atomic::Ordering::SeqCst);
    let edited = alice.send(direct(&alice), edit(sent.seq, "in time")).await.unwrap();
    clock.0.fetch_add(2, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(
        error_code(alice.send(direct(&alice), edit(sent.seq, "x")).await),
        ReplyCode::TooLate
    );
    assert_eq!(
        error_code(alice.send(direct(&alice), recall(sent.seq)).await),
        ReplyCode::TooLate
    );
    // If the clock steps back, the times in the log grow nevertheless.
    clock.0.fetch_sub(edit_window, std::sync::atomic::Ordering::SeqCst);
    let later = alice.send_text(direct(&alice), "x").await.unwrap();
    assert!(later.time > edited.time);
}
