//! Tests of the rates of history pages and of messages, which apply to all sessions of a user
//! together and slow the user down.

use std::time::Duration;

use futures_util::future::join_all;

use super::support::*;
use crate::commands::Commands;
use crate::engine::LocalSession;
use crate::model::*;
use crate::rate::Rate;

/// Reads `count` pages at once, by the sessions in turn, and returns how long that takes.
async fn time_to_read_pages(sessions: &[&LocalSession], count: usize) -> Duration {
    let started = tokio::time::Instant::now();
    let page = |n: usize| {
        let session = sessions[n % sessions.len()];
        history(session, direct(session))
    };
    join_all((0..count).map(page)).await;
    started.elapsed()
}

/// The rate applies to a user, not to each device.
#[tokio::test(start_paused = true)]
async fn page_rate_delays_the_heavy_reader_only() {
    let mut config = config();
    config.page_rate = Rate::new(2, Duration::from_secs(60)).with_burst(4);
    let engine = builder().config(config).build().await.unwrap();
    let phone = new_user(&engine, "alice").await;
    let laptop = engine.session(id(&phone), DeviceId::random()).await.unwrap();
    let bob = new_user(&engine, "bob").await;
    for session in [&phone, &bob] {
        session.send_text(direct(session), "x").await.unwrap();
    }
    let second = Duration::from_secs(1);
    assert!(time_to_read_pages(&[&phone, &laptop], 4).await < second);
    let two_more = time_to_read_pages(&[&phone, &laptop], 2).await;
    assert!((58 * second..62 * second).contains(&two_more), "{two_more:?}");
    assert!(time_to_read_pages(&[&bob], 4).await < second);
}

#[tokio::test]
async fn message_rate_counts_all_devices_of_a_user() {
    let mut config = config();
    config.message_rate_per_user = Rate::new(1, Duration::from_secs(10)).with_burst(4);
    let engine = builder().config(config).build().await.unwrap();
    let (phone, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let laptop = engine.session(id(&phone), DeviceId::random()).await.unwrap();
    let delay_of = |session: &LocalSession| {
        let (conversation, draft) = (direct(session), draft("x"));
        engine.pace(session.caller(), &Command::Send { conversation, draft })
    };
    for session in [&phone, &laptop, &phone, &laptop] {
        assert_eq!(delay_of(session), Duration::ZERO);
    }
    assert!(delay_of(&phone) > Duration::from_secs(9) && delay_of(&laptop) > Duration::from_secs(18));
    assert_eq!(delay_of(&bob), Duration::ZERO);
    assert_eq!(engine.pace(phone.caller(), &list_contacts()), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn local_sessions_share_the_rate_of_their_user() {
    let mut config = config();
    let second = Duration::from_secs(1);
    config.message_rate_per_user = Rate::new(1, second).with_burst(3);
    let engine = builder().config(config).build().await.unwrap();
    let (phone, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let laptop = engine.session(id(&phone), DeviceId::random()).await.unwrap();
    let notes = direct(&phone);

    let started = tokio::time::Instant::now();
    for session in [&phone, &laptop, &phone] {
        session.send_text(notes.clone(), "at once").await.unwrap();
    }
    assert!(started.elapsed() < second);

    // The answers to drafts 4 and 5 are delayed by 1 s and 2 s. Those to drafts 6 and 7 would be
    // delayed by more than the maximum, 2 s (`MAX_LOCAL_DELAY`), so these drafts are refused.
    let sends = ["4", "5", "6", "7"].map(|text| laptop.send(notes.clone(), draft(text)));
    let answers = join_all(sends).await;
    let took = started.elapsed();
    assert!((second..3 * second).contains(&took), "{took:?}");
    assert!(answers[..2].iter().all(Result::is_ok), "{answers:?}");
    for refused in &answers[2..] {
        let refused = refused.as_ref().unwrap_err();
        assert_eq!(refused.code, ReplyCode::Busy);
        assert!(refused.retry_after.is_some_and(|wait| wait > second), "{refused:?}");
    }
    let stored = texts(&history(&phone, notes).await);
    assert_eq!(stored, ["at once", "at once", "at once", "4", "5"]);

    let started = tokio::time::Instant::now();
    bob.send_text(direct(&bob), "x").await.unwrap();
    assert!(started.elapsed() < second, "other users are not delayed");
}
