//! Tests of delivery: every event arrives once and in order, even if pushes are lost, repeated or
//! reordered. Also tests how acknowledgements are reported.

use std::time::Duration;

use proptest::prelude::*;

use super::script::*;
use crate::client::ClientEvent;
use crate::client::machine::{Action, Receive};
use crate::codec::RequestKind;
use crate::model::{Command, HistoryPage, Outcome, PageFrom, Push, ReplyCode, Seq, StoreEpoch};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn pushes_in_order_are_delivered_at_once() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    (1..=3).for_each(|seq| script.event(seq));
    assert_eq!(script.seqs(), [1, 2, 3]);
    assert!(script.take_page().is_none());
}

#[test]
fn duplicate_and_old_events_are_dropped() {
    let mut script = Script::online(config(), vec![group_info(2, 2)]);
    for seq in [1, 2, 3, 3, 2, 4, 3] {
        script.event(seq);
    }
    assert_eq!(script.seqs(), [3, 4]);
}

#[test]
fn gap_waits_for_the_missing_event() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    script.event(3);
    script.event(2);
    assert!(script.seqs().is_empty());
    script.event(1);
    assert_eq!(script.seqs(), [1, 2, 3]);
    script.pass(SECOND);
    assert!(script.take_page().is_none(), "nothing is missing");
}

#[test]
fn lasting_gap_is_read_from_the_log() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    script.event(1);
    script.event(3);
    script.pass(SECOND / 2);
    assert!(
        script.take_page().is_none(),
        "the client still waits for the missing event"
    );
    script.pass(SECOND / 2);
    let (request, _, asked) = script.take_page().unwrap();
    assert_eq!(asked.from, PageFrom::After(Seq(1)));
    script.outcome(request, Outcome::History(page(asked, 3, 500)));
    assert_eq!(script.seqs(), [1, 2, 3]);
}

#[test]
fn overflow_of_the_buffer_reads_the_log_at_once() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    (2..=300).for_each(|seq| script.event(seq));
    let (request, _, asked) = script.take_page().expect("only 256 events are buffered");
    script.outcome(request, Outcome::History(page(asked, 300, 500)));
    assert_eq!(script.seqs(), (1..=300).collect::<Vec<_>>());
}

#[test]
fn behind_push_reads_the_log_page_by_page() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    script.push(Push::Behind {
        conversation: GROUP_ID,
        last_seq: Seq(25),
    });
    let mut pages = 0;
    while let Some((request, _, asked)) = script.take_page() {
        script.outcome(request, Outcome::History(page(asked, 25, 10)));
        pages += 1;
    }
    assert_eq!(pages, 3);
    assert_eq!(script.seqs(), (1..=25).collect::<Vec<_>>());
}

#[test]
fn backlog_is_read_no_faster_than_events_are_taken() {
    let mut script = Script::online(config(), vec![group_info(0, 100_000)]);
    let mut page_count = 0;
    while let Some((request, _, asked)) = script.take_page() {
        page_count += 1;
        script.outcome(request, Outcome::History(page(asked, 100_000, 500)));
    }
    assert!(
        page_count <= 2,
        "{page_count} pages wait for an application that takes no events"
    );
    assert_eq!(script.seqs().len(), 500 * page_count);
    assert!(script.take_page().is_some(), "taken events make room");
}

#[test]
fn pushes_without_room_are_read_later() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    (1..=5000).for_each(|seq| script.event(seq));
    let mut seqs = script.seqs();
    assert!(seqs.len() < 2000);
    while let Some((request, _, asked)) = script.take_page() {
        script.outcome(request, Outcome::History(page(asked, 5000, 500)));
        seqs.extend(script.seqs());
    }
    assert_eq!(seqs, (1..=5000).collect::<Vec<_>>());
}

#[test]
fn delivery_starts_after_the_greater_cursor() {
    let mut config = config();
    config.cursors.insert(GROUP_ID, Seq(4).into());
    let mut script = Script::online(config, vec![group_info(2, 5)]);
    let acknowledged =
        script.try_take(|kind| matches!(kind, RequestKind::Command(Command::Acknowledge { seq: Seq(4), .. })));
    assert!(
        acknowledged.is_some(),
        "the client reports its later cursor to the server"
    );
    let (_, _, asked) = script.take_page().unwrap();
    assert_eq!(asked.from, PageFrom::After(Seq(4)));
}

#[test]
fn delivery_from_the_beginning_starts_at_the_first_readable_event() {
    let mut config = config();
    config.receive = Receive::FromBeginning;
    config.cursors.insert(GROUP_ID, Seq(4).into());
    let mut info = group_info(4, 5);
    info.first_seq = Seq(3);
    let mut script = Script::online(config, vec![info]);
    let (_, _, asked) = script.take_page().unwrap();
    assert_eq!(asked.from, PageFrom::After(Seq(2)));
}

#[test]
fn unreadable_events_are_reported_as_truncated() {
    let mut script = Script::online(config(), vec![group_info(0, 9)]);
    let (request, _, asked) = script.take_page().unwrap();
    let mut answer = page(asked, 9, 500);
    answer.events.drain(..5);
    answer.first_seq = Seq(6);
    script.outcome(request, Outcome::History(answer));
    let events = script.events();
    assert!(matches!(
        events[0],
        ClientEvent::Truncated {
            from: Seq(1),
            to: Seq(5),
            ..
        }
    ));
    assert_eq!(
        events
            .iter()
            .filter(|event| matches!(event, ClientEvent::Event(_)))
            .count(),
        4
    );
}

#[test]
fn events_missing_in_a_page_are_read_once_a_push_reports_them() {
    let mut script = Script::online(config(), vec![group_info(0, 3)]);
    let (request, _, asked) = script.take_page().unwrap();
    let mut answer = page(asked, 3, 500);
    answer.events.remove(1);
    script.outcome(request, Outcome::History(answer));
    assert_eq!(script.seqs(), [1]);
    script.push(Push::Behind {
        conversation: GROUP_ID,
        last_seq: Seq(3),
    });
    let (request, _, asked) = script.take_page().unwrap();
    script.outcome(request, Outcome::History(page(asked, 3, 500)));
    assert_eq!(script.seqs(), [2, 3]);
}

#[test]
fn new_conversation_is_looked_up() {
    let mut script = Script::online(config(), Vec::new());
    script.event(1);
    assert!(script.seqs().is_empty());
    let request = script.take(|kind| matches!(kind, RequestKind::Command(Command::GetConversation(_))));
    script.outcome(request, Outcome::Conversation(Box::new(group_info(0, 1))));
    assert_eq!(script.seqs(), [1]);
}

#[test]
fn conversation_that_is_not_found_is_not_read_again() {
    let mut script = Script::online(config(), vec![group_info(0, 1)]);
    let (request, ..) = script.take_page().unwrap();
    script.refuse(request, ReplyCode::NotFound);
    script.pass(60 * SECOND);
    assert!(script.take_page().is_none());
}

#[test]
fn reconnection_continues_delivery() {
    let mut script = Script::online(config(), vec![group_info(0, 2)]);
    let (request, _, asked) = script.take_page().unwrap();
    script.outcome(request, Outcome::History(page(asked, 2, 500)));
    assert_eq!(script.seqs(), [1, 2]);
    script.machine.disconnected(script.now);
    script.log_in(EPOCH, vec![group_info(0, 4)]);
    let (request, _, asked) = script.take_page().unwrap();
    assert_eq!(
        asked.from,
        PageFrom::After(Seq(1)),
        "the page starts with a known event"
    );
    script.outcome(request, Outcome::History(page(asked, 4, 500)));
    assert_eq!(script.seqs(), [3, 4]);
}

#[test]
fn other_epoch_restarts_delivery() {
    let mut config = config();
    config.cursors.insert(GROUP_ID, Seq(9).into());
    let mut script = Script::new(config);
    script.log_in(StoreEpoch([2; 16]), vec![group_info(1, 3)]);
    script.drain();
    assert!(
        script
            .actions
            .iter()
            .any(|action| matches!(action, Action::StoreReplaced(_)))
    );
    let (request, _, asked) = script.take_page().unwrap();
    assert_eq!(
        asked.from,
        PageFrom::After(Seq(1)),
        "the cursor of the replaced log is not used"
    );
    script.outcome(request, Outcome::History(page(asked, 3, 500)));
    let events = script.events();
    assert!(matches!(events[0], ClientEvent::StoreReplaced));
}

#[test]
fn shorter_log_restarts_delivery() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    (1..=5).for_each(|seq| script.event(seq));
    assert_eq!(script.seqs().len(), 5);
    script.acknowledge(5);
    script.machine.disconnected(script.now);
    script.log_in(EPOCH, vec![group_info(2, 3)]);
    script.pass(SECOND);
    assert!(
        saved_seqs(&mut script).is_empty(),
        "the acknowledgement of the longer log is void"
    );
    let events = script.events();
    assert!(matches!(events[0], ClientEvent::Rewound { to: Seq(2), .. }));
    let (_, _, asked) = script.take_page().unwrap();
    assert_eq!(asked.from, PageFrom::After(Seq(2)));
}

#[test]
fn saved_cursor_past_the_end_is_void() {
    let mut config = config();
    config.cursors.insert(GROUP_ID, Seq(9).into());
    let mut script = Script::online(config, vec![group_info(2, 3)]);
    assert_eq!(saved_seqs(&mut script), [Seq(2)], "cursor 9 would skip later events");
    assert!(matches!(script.events()[0], ClientEvent::Rewound { to: Seq(2), .. }));
}

/// Returns the cursors of the group that the machine asked its driver to save, in order.
fn saved_seqs(script: &mut Script) -> Vec<Seq> {
    script.drain();
    let saved = script.actions.iter().filter_map(|action| match action {
        Action::SaveCursors(cursors) => cursors.get(&GROUP_ID).map(|cursor| cursor.seq),
        _ => None,
    });
    saved.collect()
}

#[test]
fn acknowledgements_share_a_request() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    (1..=3).for_each(|seq| script.event(seq));
    script.seqs();
    (1..=3).for_each(|seq| script.acknowledge(seq));
    let is_ack = |kind: &RequestKind| matches!(kind, RequestKind::Command(Command::Acknowledge { .. }));
    assert!(script.try_take(is_ack).is_none());
    script.pass(SECOND / 10);
    let request = script.try_take(is_ack).unwrap();
    assert!(!request.id.wants_reply());
    assert!(matches!(
        request.kind,
        RequestKind::Command(Command::Acknowledge { seq: Seq(3), .. })
    ));
    assert!(script.try_take(is_ack).is_none());
    assert!(
        script
            .actions
            .iter()
            .any(|action| matches!(action, Action::SaveCursors(cursors) if cursors[&GROUP_ID] == cursor(3)))
    );
}

#[test]
fn caught_up_follows_the_backlog() {
    let mut script = Script::online(config(), vec![group_info(0, 2)]);
    assert!(script.events().is_empty());
    let (request, _, asked) = script.take_page().unwrap();
    script.outcome(request, Outcome::History(page(asked, 2, 500)));
    let events = script.events();
    assert!(matches!(events.last(), Some(ClientEvent::CaughtUp)), "{events:?}");
}

/// Disturbance of a push on its way to the client.
#[derive(Clone, Debug)]
enum Disturbance {
    /// The push arrives in time, once.
    Arrives,
    IsLost,
    IsDuplicated,
    /// The push arrives this many steps later.
    IsLate(usize),
    /// The server sends `Behind` instead.
    BecomesBehind,
    /// The push is lost with the connection, and the client logs in again.
    ConnectionBreaks,
    /// The server asks the client to leave. The program is suspended until the client has to leave
    /// even if requests are running, and then reads the packets that the server sent in that time.
    ArrivesWhileLeaving,
}

fn disturbances() -> impl Strategy<Value = Vec<Disturbance>> {
    let disturbance = prop_oneof![
        4 => Just(Disturbance::Arrives),
        2 => Just(Disturbance::IsLost),
        1 => Just(Disturbance::IsDuplicated),
        2 => (1..40_usize).prop_map(Disturbance::IsLate),
        1 => Just(Disturbance::BecomesBehind),
        1 => Just(Disturbance::ConnectionBreaks),
        1 => Just(Disturbance::ArrivesWhileLeaving),
    ];
    prop::collection::vec(disturbance, 1..150)
}

proptest! {
    #[test]
    fn every_event_is_delivered_once_and_in_order(disturbances in disturbances(), cursor in 0..5_u64, backlog in 0..40_u64, max_events in 1..50_u64) {
        let mut last = cursor + backlog;
        let mut script = Script::online(config(), vec![group_info(cursor, last)]);
        let mut late: Vec<(usize, u64)> = Vec::new();
        let mut seqs = Vec::new();
        for (step, disturbance) in disturbances.iter().enumerate() {
            last += 1;
            match disturbance {
                Disturbance::Arrives => script.event(last),
                Disturbance::IsLost => {}
                Disturbance::IsDuplicated => { script.event(last); script.event(last); }
                Disturbance::IsLate(by) => late.push((step + by, last)),
                Disturbance::BecomesBehind => script.push(Push::Behind { conversation: GROUP_ID, last_seq: Seq(last) }),
                Disturbance::ConnectionBreaks => {
                    script.machine.disconnected(script.now);
                    script.sent.clear();
                    script.log_in(EPOCH, vec![group_info(cursor, last)]);
                }
                Disturbance::ArrivesWhileLeaving => {
                    let page_under_way = script.take_page();
                    script.push(Push::GoAway { retry_after_ms: 0 });
                    script.now += 3 * SECOND;
                    script.event(last);
                    if let Some((request, _, asked)) = page_under_way {
                        script.outcome(request, Outcome::History(page(asked, last, max_events)));
                    }
                    last += 1;
                    script.event(last);
                    script.machine.disconnected(script.now);
                    script.sent.clear();
                    script.log_in(EPOCH, vec![group_info(cursor, last)]);
                }
            }
            late.iter().filter(|(due, _)| *due == step).for_each(|(_, seq)| script.event(*seq));
            script.pass(Duration::from_millis(150));
            if step % 3 == 0 && let Some((request, _, asked)) = script.take_page() {
                script.outcome(request, Outcome::History(page(asked, last, max_events)));
            }
            seqs.extend(script.seqs());
        }
        // One more event that arrives reveals losses at the end.
        last += 1;
        script.event(last);
        for _ in 0..400 {
            script.pass(SECOND);
            let heartbeat = script.try_take(|kind| matches!(kind, RequestKind::Ping));
            if let Some(ping) = heartbeat {
                script.answer(ping.id, crate::codec::Answer::Pong(crate::model::Timestamp(1)));
            }
            while let Some((request, _, asked)) = script.take_page() {
                let answer: HistoryPage = page(asked, last, max_events);
                script.outcome(request, Outcome::History(answer));
            }
            seqs.extend(script.seqs());
        }
        prop_assert_eq!(seqs, (cursor + 1..=last).collect::<Vec<_>>());
    }
}
