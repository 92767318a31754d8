//! Tests of pushes that arrive while their conversation is looked up.

use super::script::*;
use crate::codec::RequestKind;
use crate::model::{Command, Outcome, PageFrom, Push, Seq};

fn is_lookup(kind: &RequestKind) -> bool {
    matches!(kind, RequestKind::Command(Command::GetConversation(_)))
}

#[test]
fn events_beyond_those_kept_during_a_lookup_are_read() {
    let mut script = Script::online(config(), Vec::new());
    script.event(1);
    let request = script.take(is_lookup);
    (2..=100).for_each(|seq| script.event(seq));
    // The server answered before it appended the later events.
    script.outcome(request, Outcome::Conversation(Box::new(group_info(0, 1))));
    assert_eq!(script.seqs(), (1..=64).collect::<Vec<_>>());
    let (request, _, asked) = script.take_page().expect("the log has more events");
    assert_eq!(asked.from, PageFrom::After(Seq(64)));
    script.outcome(request, Outcome::History(page(asked, 100, 500)));
    assert_eq!(script.seqs(), (65..=100).collect::<Vec<_>>());
    assert!(script.take_page().is_none());
}

#[test]
fn behind_push_during_a_lookup_reads_the_log() {
    let mut script = Script::online(config(), Vec::new());
    script.event(1);
    let request = script.take(is_lookup);
    script.push(Push::Behind {
        conversation: GROUP_ID,
        last_seq: Seq(5),
    });
    script.outcome(request, Outcome::Conversation(Box::new(group_info(0, 1))));
    let (request, _, asked) = script.take_page().expect("the log has more events");
    script.outcome(request, Outcome::History(page(asked, 5, 500)));
    assert_eq!(script.seqs(), [1, 2, 3, 4, 5]);
}
