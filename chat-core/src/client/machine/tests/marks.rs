//! Tests of receipts of other users, and of read marks from other devices of the user.

use super::script::*;
use crate::client::ClientEvent;
use crate::client::machine::Action;
use crate::model::{ConversationId, ConversationView, Push, Seq};

#[test]
fn receipts_advance_the_peer_positions_of_direct_conversations_only() {
    let mut direct = group_info(0, 1);
    direct.id = ConversationId(11);
    direct.view = ConversationView::Direct(user(OTHER, "bob"));
    let mut script = Script::online(config(), vec![group_info(0, 1), direct]);
    for conversation in [GROUP_ID, ConversationId(11)] {
        script.push(Push::Receipt {
            conversation,
            user: OTHER,
            delivered_seq: Seq(1),
            read_seq: Seq(1),
        });
    }
    script.drain();
    let reported = script.actions.iter().filter_map(|action| match action {
        Action::Conversation(info) => Some((info.id, info.peer_delivered_seq, info.peer_read_seq)),
        _ => None,
    });
    assert_eq!(
        reported.filter(|(_, delivered, _)| delivered.0 > 0).collect::<Vec<_>>(),
        [(ConversationId(11), Seq(1), Seq(1))]
    );
}

fn receipt(delivered: u64, read: u64) -> Push {
    Push::Receipt {
        conversation: GROUP_ID,
        user: OTHER,
        delivered_seq: Seq(delivered),
        read_seq: Seq(read),
    }
}

/// Takes all events that wait for the application, and returns the positions of receipts.
fn receipts(script: &mut Script) -> Vec<(u64, u64)> {
    let events = script.events();
    let receipts = events.iter().filter_map(|event| match event {
        ClientEvent::Receipt {
            delivered_seq,
            read_seq,
            ..
        } => Some((delivered_seq.0, read_seq.0)),
        _ => None,
    });
    receipts.collect()
}

/// Returns the read mark and the number of unread messages that were reported last.
fn read_state(script: &mut Script) -> (u64, u32) {
    script.drain();
    let last = script.actions.iter().rev().find_map(|action| match action {
        Action::Conversation(info) => Some((info.read_seq.0, info.unread)),
        _ => None,
    });
    last.unwrap()
}

#[test]
fn receipts_past_the_end_take_effect_with_their_event() {
    let mut script = Script::online(config(), vec![group_info(2, 2)]);
    script.push(receipt(4, 3));
    assert_eq!(receipts(&mut script), [(2, 2)]);
    script.event(3);
    assert_eq!(receipts(&mut script), [(3, 3)], "event 4 is not known yet");
    script.event(4);
    assert_eq!(receipts(&mut script), [(4, 3)]);
    script.event(5);
    assert_eq!(receipts(&mut script), []);
}

#[test]
fn receipts_of_unknown_conversations_are_not_reported() {
    let mut script = Script::online(config(), Vec::new());
    script.push(receipt(4, 3));
    assert_eq!(receipts(&mut script), []);
}

#[test]
fn read_marks_past_the_end_take_effect_with_their_event() {
    let mut script = Script::online(config(), vec![group_info(2, 2)]);
    script.push(Push::Read {
        conversation: GROUP_ID,
        read_seq: Seq(3),
        unread: 7,
        unread_mentions: 7,
    });
    assert_eq!(read_state(&mut script), (2, 0));
    script.event(3);
    assert_eq!(read_state(&mut script), (3, 0), "the read mark was moved elsewhere");
    script.event(4);
    assert_eq!(read_state(&mut script), (3, 1));
}
