//! Tests of logins of users with so many conversations that the list comes in pages.

use std::time::Duration;

use super::script::*;
use crate::client::ClientEvent;
use crate::client::machine::{Action, Receive};
use crate::codec::{RequestId, RequestKind};
use crate::model::{
    Command, ConversationId, ConversationInfo, ConversationPage, ConversationQuery, Outcome, PageFrom, Push, ReplyCode,
    Seq,
};

const OTHER_GROUP: ConversationId = ConversationId(GROUP_ID.0 + 1);

fn other_group(cursor: u64, last: u64) -> ConversationInfo {
    ConversationInfo {
        id: OTHER_GROUP,
        ..group_info(cursor, last)
    }
}

/// Returns a script of a client whose login has reported the group, of which everything was
/// acknowledged, and that the user has more conversations.
fn logged_in_with_more(receive: Receive) -> Script {
    let mut config = config();
    config.receive = receive;
    let mut script = Script::new(config);
    script.log_in_with(vec![group_info(5, 5)], true);
    script
}

fn take_list(script: &mut Script) -> (RequestId, ConversationQuery) {
    let request = script.try_take(|kind| matches!(kind, RequestKind::Command(Command::ListConversations(_))));
    let request = request.expect("the machine asked for the list");
    match request.kind {
        RequestKind::Command(Command::ListConversations(query)) => (request.id, query),
        _ => unreachable!(),
    }
}

fn page(conversations: Vec<ConversationInfo>, next: Option<ConversationId>) -> Outcome {
    let mut page = ConversationPage::new(conversations);
    page.next = next;
    Outcome::Conversations(page)
}

fn is_listed(script: &mut Script) -> bool {
    script.drain();
    script.actions.iter().any(|action| matches!(action, Action::Listed))
}

fn caught_up(script: &mut Script) -> bool {
    script
        .events()
        .iter()
        .any(|event| matches!(event, ClientEvent::CaughtUp))
}

#[test]
fn list_is_read_to_its_end_after_the_login() {
    let mut script = logged_in_with_more(Receive::FromCursor);
    let (first, query) = take_list(&mut script);
    assert_eq!((query.after, query.ended), (ConversationId(0), false));
    script.outcome(first, page(vec![group_info(5, 5)], Some(GROUP_ID)));
    assert!(!is_listed(&mut script) && !caught_up(&mut script));
    let (second, query) = take_list(&mut script);
    assert_eq!(query.after, GROUP_ID);
    script.outcome(second, page(vec![other_group(2, 3)], None));
    assert!(is_listed(&mut script));
    let (read, _, wanted) = script.take_page().expect("the other group is read");
    assert_eq!(wanted.from, PageFrom::After(Seq(2)));
    assert!(!caught_up(&mut script));
    script.refuse(read, ReplyCode::NotFound);
    assert!(caught_up(&mut script));
}

/// A page was read before events that were pushed since, so it does not replace what the client
/// knows from this session.
#[test]
fn page_does_not_undo_pushed_events() {
    let mut script = logged_in_with_more(Receive::FromCursor);
    let (list, _) = take_list(&mut script);
    script.event(6);
    assert_eq!(script.seqs(), [6]);
    script.outcome(list, page(vec![group_info(5, 5)], None));
    script.event(7);
    let events = script.events();
    assert!(
        !events.iter().any(|event| matches!(event, ClientEvent::Rewound { .. })),
        "{events:?}"
    );
}

/// A page reports a conversation while the reply to its look-up is on its way.
#[test]
fn reply_to_a_look_up_does_not_undo_events_after_a_page() {
    let mut script = Script::new(config());
    script.log_in_with(Vec::new(), true);
    let (list, _) = take_list(&mut script);
    script.event(11);
    let is_look_up = |kind: &RequestKind| matches!(kind, RequestKind::Command(Command::GetConversation(_)));
    let look_up = script.take(is_look_up);
    script.outcome(list, page(vec![group_info(10, 11)], None));
    assert_eq!(script.seqs(), [11]);
    script.event(12);
    assert_eq!(script.seqs(), [12]);
    let info = Box::new(group_info(10, 11));
    script.outcome(look_up, Outcome::Conversation(info));
    script.event(13);
    let events = script.events();
    assert!(
        matches!(&events[..], [ClientEvent::Event(delivery)] if delivery.seq() == Seq(13)),
        "{events:?}"
    );
}

/// A page was read before the server reported that the log has grown.
#[test]
fn end_of_the_log_that_was_reported_before_a_page_is_kept() {
    let mut script = Script::new(config());
    script.log_in_with(Vec::new(), true);
    let (list, _) = take_list(&mut script);
    script.push(Push::Behind {
        conversation: GROUP_ID,
        last_seq: Seq(90),
    });
    script.outcome(list, page(vec![group_info(10, 10)], None));
    let (_, _, asked) = script.take_page().expect("the log has more events");
    assert_eq!(asked.from, PageFrom::After(Seq(10)));
}

#[test]
fn refused_page_of_the_list_is_requested_again() {
    let mut script = logged_in_with_more(Receive::FromCursor);
    let (list, query) = take_list(&mut script);
    assert!(!is_listed(&mut script));
    script.refuse(list, ReplyCode::TryAgain);
    assert!(is_listed(&mut script), "the application need not wait for the list");
    let is_list = |kind: &RequestKind| matches!(kind, RequestKind::Command(Command::ListConversations(_)));
    assert!(script.try_take(is_list).is_none());
    let due = script.machine.next_tick(script.now).unwrap();
    assert!(due <= script.now + Duration::from_secs(1));
    script.pass(Duration::from_secs(1));
    let (list, again) = take_list(&mut script);
    assert_eq!(again, query);
    script.outcome(list, page(Vec::new(), None));
    assert!(is_listed(&mut script));
}

/// A server that repeats a page forever ends the connection.
#[test]
fn list_without_progress_is_a_protocol_error() {
    let mut script = logged_in_with_more(Receive::FromCursor);
    let (list, _) = take_list(&mut script);
    script.outcome(list, page(Vec::new(), Some(GROUP_ID)));
    let (list, _) = take_list(&mut script);
    script.outcome(list, page(Vec::new(), Some(GROUP_ID)));
    script.drain();
    let reconnects = |action: &Action| matches!(action, Action::Reconnect { .. });
    assert!(script.actions.iter().any(reconnects));
}

#[test]
fn client_that_wants_every_event_lists_ended_conversations() {
    let mut config = config();
    config.receive = Receive::FromBeginning;
    let mut script = Script::new(config);
    script.log_in_with(vec![group_info(5, 5)], false);
    let (list, query) = take_list(&mut script);
    assert!(query.ended);
    script.outcome(list, page(vec![group_info(5, 5)], None));
    assert!(is_listed(&mut script));
}

/// After a reconnect, a conversation is read again only when the server has reported it, so that
/// its log is compared first.
#[test]
fn conversation_waits_for_its_page_of_the_list_after_a_reconnect() {
    let mut script = Script::online(config(), vec![group_info(5, 5), other_group(2, 3)]);
    script.take_page().expect("the other group is read");
    script.machine.disconnected(script.now);
    script.log_in_with(vec![group_info(5, 5)], true);
    let (list, _) = take_list(&mut script);
    assert!(script.take_page().is_none());
    script.outcome(list, page(vec![other_group(2, 3)], None));
    assert!(script.take_page().is_some());
}
