//! Tests of the list of conversations that the client reads after a login, and of look-ups of
//! single conversations.

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

fn is_online(script: &mut Script) -> bool {
    script.drain();
    script.actions.iter().any(|action| matches!(action, Action::Online))
}

fn has_caught_up(script: &mut Script) -> bool {
    script
        .events()
        .iter()
        .any(|event| matches!(event, ClientEvent::CaughtUp))
}

#[test]
fn list_is_read_to_its_end_after_the_login() {
    let mut script = logged_in_with_more(Receive::FromCursor);
    let (first, query) = take_list(&mut script);
    assert_eq!((query.after, query.include_ended), (ConversationId(0), false));
    script.outcome(first, page(vec![group_info(5, 5)], Some(GROUP_ID)));
    assert!(!is_online(&mut script) && !has_caught_up(&mut script));
    let (second, query) = take_list(&mut script);
    assert_eq!(query.after, GROUP_ID);
    script.outcome(second, page(vec![other_group(2, 3)], None));
    assert!(is_online(&mut script));
    let (read, _, wanted) = script.take_page().expect("the other group is read");
    assert_eq!(wanted.from, PageFrom::After(Seq(2)));
    assert!(!has_caught_up(&mut script));
    script.refuse(read, ReplyCode::NotFound);
    assert!(has_caught_up(&mut script));
}

/// The server read the page before the events that it has pushed since, so the page does not
/// replace what the client knows from this session.
#[test]
fn page_older_than_pushed_events_does_not_rewind_the_log() {
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

fn take_lookup(script: &mut Script) -> RequestId {
    script.take(|kind| matches!(kind, RequestKind::Command(Command::GetConversation(_))))
}

/// A page may be older than the reply to a look-up that was sent because of a push: in the page,
/// the user, a former member, has not joined again yet.
#[test]
fn page_does_not_report_a_conversation_that_is_looked_up() {
    let mut script = Script::new(config());
    script.log_in_with(Vec::new(), true);
    let (list, _) = take_list(&mut script);
    script.event(11);
    let lookup = take_lookup(&mut script);
    let former = ConversationInfo {
        active: false,
        ..group_info(5, 5)
    };
    script.outcome(list, page(vec![former], None));
    assert!(script.seqs().is_empty());
    script.outcome(lookup, Outcome::Conversation(Box::new(group_info(10, 11))));
    assert_eq!(script.seqs(), [11]);
    script.event(12);
    let events = script.events();
    assert!(
        matches!(&events[..], [ClientEvent::Event(delivery)] if delivery.conversation.active && delivery.seq() == Seq(12)),
        "{events:?}"
    );
}

/// The user has read messages on another device after the server read the page from its store.
#[test]
fn page_does_not_undo_a_read_mark() {
    let mut script = Script::new(config());
    script.log_in_with(Vec::new(), true);
    let (list, _) = take_list(&mut script);
    script.push(Push::Read {
        conversation: GROUP_ID,
        read_seq: Seq(5),
        unread: 0,
        unread_mentions: 0,
    });
    let lookup = take_lookup(&mut script);
    let unread = ConversationInfo {
        unread: 3,
        ..group_info(5, 5)
    };
    script.outcome(list, page(vec![unread], None));
    let read = ConversationInfo {
        read_seq: Seq(5),
        ..group_info(5, 5)
    };
    script.outcome(lookup, Outcome::Conversation(Box::new(read)));
    script.drain();
    let reported = script.actions.iter().rev().find_map(|action| match action {
        Action::Conversation(info) => Some((info.read_seq, info.unread)),
        _ => None,
    });
    assert_eq!(reported, Some((Seq(5), 0)));
}

/// The server's operator restores a backup while the client is away.
#[test]
fn pushes_of_a_conversation_that_is_not_listed_yet_are_forgotten_with_the_connection() {
    let mut script = Script::online(config(), vec![group_info(10, 10)]);
    script.machine.disconnected(script.now);
    script.log_in_with(Vec::new(), true);
    (11..=13).for_each(|seq| script.event(seq));
    script.machine.disconnected(script.now);
    script.drain();
    script.sent.clear();
    script.log_in_with(vec![group_info(10, 10)], false);
    assert!(script.seqs().is_empty(), "the log ends at 10 now");
    assert!(script.take_page().is_none());
}

/// The server's operator has restored a backup: until the server has reported the conversation, an
/// acknowledgement may concern an event that the log does not have any more.
#[test]
fn events_are_not_acknowledged_to_the_server_before_their_conversation_is_listed() {
    let mut script = Script::online(config(), vec![group_info(48, 48)]);
    script.event(49);
    script.event(50);
    assert_eq!(script.seqs(), [49, 50]);
    script.machine.disconnected(script.now);
    script.drain();
    script.sent.clear();
    script.log_in_with(Vec::new(), true);
    let (list, _) = take_list(&mut script);
    script.acknowledge(50);
    script.pass(Duration::from_secs(2));
    let is_acknowledgement = |kind: &RequestKind| matches!(kind, RequestKind::Command(Command::Acknowledge { .. }));
    assert!(script.try_take(is_acknowledgement).is_none());
    script.outcome(list, page(vec![group_info(30, 40)], None));
    let events = script.events();
    assert!(
        matches!(&events[..], [ClientEvent::Rewound { to: Seq(30), .. }, ..]),
        "{events:?}"
    );
}

/// While a server shuts down, the client waits for running requests only.
#[test]
fn next_page_is_not_due_while_the_client_leaves() {
    let mut script = logged_in_with_more(Receive::FromCursor);
    let (list, _) = take_list(&mut script);
    script.machine.execute(script.now, 1, Command::ListDevices);
    script.push(Push::GoAway { retry_after_ms: 0 });
    script.outcome(list, page(vec![group_info(5, 5)], Some(GROUP_ID)));
    script.drain();
    assert!(script.machine.next_tick(script.now).unwrap() > script.now);
}

/// A server delays the pages of a very long list.
#[test]
fn client_is_online_before_a_slow_list_ends() {
    let mut script = logged_in_with_more(Receive::FromCursor);
    take_list(&mut script);
    assert!(!is_online(&mut script));
    script.pass(Duration::from_secs(5));
    assert!(is_online(&mut script));
    assert!(!has_caught_up(&mut script));
}

#[test]
fn lookups_are_limited_like_pages_of_logs() {
    let mut script = Script::new(config());
    script.log_in_with(Vec::new(), false);
    for id in 100..200 {
        script.push(Push::Behind {
            conversation: ConversationId(id),
            last_seq: Seq(1),
        });
    }
    script.drain();
    let is_lookup = |kind: &RequestKind| matches!(kind, RequestKind::Command(Command::GetConversation(_)));
    let sent = script.sent.iter().filter(|request| is_lookup(&request.kind)).count();
    assert_eq!(sent, 4);
    for _ in 0..100 {
        let request = take_lookup(&mut script);
        script.refuse(request, ReplyCode::NotFound);
    }
    assert!(script.try_take(is_lookup).is_none());
}

/// The reply to a look-up may be older than the push that reported how far the log has grown.
#[test]
fn end_of_the_log_that_was_reported_before_a_lookup_is_kept() {
    let mut script = Script::new(config());
    script.log_in_with(Vec::new(), true);
    let (list, _) = take_list(&mut script);
    script.push(Push::Behind {
        conversation: GROUP_ID,
        last_seq: Seq(90),
    });
    script.outcome(list, page(Vec::new(), None));
    let lookup = take_lookup(&mut script);
    script.outcome(lookup, Outcome::Conversation(Box::new(group_info(10, 10))));
    let (_, _, asked) = script.take_page().expect("the log has more events");
    assert_eq!(asked.from, PageFrom::After(Seq(10)));
}

#[test]
fn refused_page_of_the_list_is_requested_again() {
    let mut script = logged_in_with_more(Receive::FromCursor);
    let (list, query) = take_list(&mut script);
    assert!(!is_online(&mut script));
    script.refuse(list, ReplyCode::TryAgain);
    assert!(is_online(&mut script), "the application need not wait for the list");
    let is_list = |kind: &RequestKind| matches!(kind, RequestKind::Command(Command::ListConversations(_)));
    assert!(script.try_take(is_list).is_none());
    let due = script.machine.next_tick(script.now).unwrap();
    assert!(due <= script.now + Duration::from_secs(1));
    script.pass(Duration::from_secs(1));
    let (list, again) = take_list(&mut script);
    assert_eq!(again, query);
    script.outcome(list, page(Vec::new(), None));
    assert!(is_online(&mut script));
}

/// The client leaves a server that repeats a page, instead of reading the list forever.
#[test]
fn list_without_progress_makes_the_client_reconnect() {
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
    assert!(query.include_ended);
    script.outcome(list, page(vec![group_info(5, 5)], None));
    assert!(is_online(&mut script));
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
