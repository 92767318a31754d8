//! Tests of login, of the end of sessions, of commands, and of unread counts.

use std::time::Duration;

use super::script::*;
use crate::client::machine::{Action, Credentials, Receive};
use crate::client::{ClientError, ClientEvent};
use crate::codec::{Answer, RequestKind, body};
use crate::model::{
    CloseCode, Command, ConversationRef, DisplayName, Event, EventBody, EventKind, GroupName, Outcome, PresenceState,
    ProfileChanges, Push, ReplyCode, Secret, Seq, SessionTokens, UserName, UserRef,
};

pub(super) fn password(fresh: bool) -> Credentials {
    Credentials::Password {
        account: UserRef::Name(UserName::parse("alice").unwrap()),
        secret: Secret::new(*b"secret"),
        fresh,
    }
}

pub(super) fn is_login(kind: &RequestKind) -> bool {
    matches!(kind, RequestKind::Login(_))
}

pub(super) fn is_resume(kind: &RequestKind) -> bool {
    matches!(kind, RequestKind::Resume(_))
}

/// Returns the reason for which the machine has ended, if it has.
pub(super) fn ended(script: &mut Script) -> Option<ClientError> {
    script.drain();
    script.actions.iter().find_map(|action| match action {
        Action::End(reason) => Some(reason.clone()),
        _ => None,
    })
}

/// Returns the minimum delay before the reconnection that the machine has asked for; `None` if it
/// has asked for none, and `Some(None)` if the reconnection has no minimum delay.
fn reconnect_delay(script: &mut Script) -> Option<Option<Duration>> {
    script.drain();
    script.actions.iter().find_map(|action| match action {
        Action::Reconnect { after, .. } => Some(*after),
        _ => None,
    })
}

#[test]
fn token_login_names_no_account_and_later_connections_resume() {
    let mut config = config();
    config.credentials = Credentials::Token {
        token: Secret::new(*b"jwt"),
        fresh: true,
    };
    let mut script = Script::new(config);
    script.machine.connected(script.now);
    let request = script.try_take(is_login).expect("the token is presented");
    let RequestKind::Login(login) = &request.kind else {
        panic!("no login: {request:?}");
    };
    assert_eq!((&login.account, login.secret.expose()), (&None, &b"jwt"[..]));
    let answer = logged_in(EPOCH, Vec::new());
    script.answer(request.id, Answer::LoggedIn(Box::new(answer)));
    assert!(script.machine.has_session());
    script.machine.disconnected(script.now);
    script.machine.connected(script.now);
    script.take(is_resume);
}

#[test]
fn session_token_is_preferred_unless_a_fresh_login_is_wanted() {
    for (fresh, resumes) in [(false, true), (true, false)] {
        let mut config = config();
        config.credentials = password(fresh);
        let mut script = Script::new(config);
        script.machine.connected(script.now);
        script.drain();
        assert_eq!(script.sent.iter().any(|request| is_resume(&request.kind)), resumes);
        assert_eq!(script.sent.iter().any(|request| is_login(&request.kind)), !resumes);
    }
}

#[test]
fn expired_token_falls_back_to_the_password() {
    let mut config = config();
    config.credentials = password(false);
    let mut script = Script::new(config);
    script.machine.connected(script.now);
    let resume = script.take(is_resume);
    script.refuse(resume, ReplyCode::SessionExpired);
    assert!(script.try_take(is_login).is_some());
    assert!(
        script
            .actions
            .iter()
            .any(|action| matches!(action, Action::ForgetSession))
    );
}

#[test]
fn missing_credentials_end_the_client() {
    let mut config = config();
    config.session = None;
    let mut script = Script::new(config);
    script.machine.connected(script.now);
    assert!(matches!(ended(&mut script), Some(ClientError::NoCredentials)));
}

#[test]
fn wrong_password_is_not_retried() {
    let mut config = config();
    config.credentials = password(true);
    let mut script = Script::new(config);
    script.machine.connected(script.now);
    let login = script.take(is_login);
    script.refuse(login, ReplyCode::BadCredentials);
    assert_eq!(ended(&mut script).unwrap().code(), Some(ReplyCode::BadCredentials));
    script.machine.connected(script.now);
    assert!(script.try_take(is_login).is_none());
}

#[test]
fn busy_server_causes_a_reconnection() {
    let mut script = Script::new(config());
    script.machine.connected(script.now);
    let resume = script.take(is_resume);
    script.refuse(resume, ReplyCode::Busy);
    // The server gave no delay, so the machine asks the driver for no minimum delay.
    assert_eq!(reconnect_delay(&mut script), Some(None));
    assert!(ended(&mut script).is_none());
}

#[test]
fn replaced_session_ends_and_going_away_reconnects() {
    let mut script = Script::online(config(), Vec::new());
    script.push(Push::Closed(CloseCode::Replaced));
    assert!(matches!(
        ended(&mut script),
        Some(ClientError::Ended(CloseCode::Replaced))
    ));
    assert!(matches!(script.events().last(), Some(ClientEvent::Ended(_))));

    let mut script = Script::online(config(), Vec::new());
    script.push(Push::Closed(CloseCode::UnsupportedVersion));
    let end = ended(&mut script);
    assert!(matches!(end, Some(ClientError::Ended(CloseCode::UnsupportedVersion))));

    let mut script = Script::online(config(), Vec::new());
    script.push(Push::GoAway { retry_after_ms: 700 });
    assert_eq!(reconnect_delay(&mut script), Some(Some(Duration::from_millis(700))));
}

#[test]
fn running_requests_finish_before_the_client_leaves() {
    let mut script = Script::online(config(), Vec::new());
    script.machine.execute(script.now, 1, Command::ListDevices);
    script.push(Push::GoAway { retry_after_ms: 700 });
    assert_eq!(reconnect_delay(&mut script), None);
    let request = script.take(|kind| matches!(kind, RequestKind::Command(Command::ListDevices)));
    script.outcome(request, Outcome::Devices(Vec::new()));
    assert!(reconnect_delay(&mut script).is_some());
}

#[test]
fn page_after_the_leave_timeout_is_requested_again() {
    let mut script = Script::online(config(), vec![group_info(0, 3)]);
    let (request, _, asked) = script.take_page().unwrap();
    script.push(Push::GoAway { retry_after_ms: 0 });
    // The program was suspended (a blocked pipe, a sleeping laptop). Then one read returns two
    // packets.
    script.now += Duration::from_secs(3);
    script.push(Push::Presence {
        user: OTHER,
        state: PresenceState::Online,
    });
    assert!(reconnect_delay(&mut script).is_some() && !script.machine.is_connected());
    script.outcome(request, Outcome::History(page(asked, 3, 500)));
    script.machine.disconnected(script.now);
    assert!(script.seqs().is_empty());
    script.log_in(EPOCH, vec![group_info(0, 3)]);
    let (request, _, asked) = script.take_page().expect("the page is requested again");
    script.outcome(request, Outcome::History(page(asked, 3, 500)));
    assert_eq!(script.seqs(), [1, 2, 3]);
}

#[test]
fn revoked_device_forgets_its_token() {
    let mut script = Script::online(config(), Vec::new());
    script.push(Push::Closed(CloseCode::Revoked));
    assert!(ended(&mut script).is_some());
    assert!(
        script
            .actions
            .iter()
            .any(|action| matches!(action, Action::ForgetSession))
    );
}

#[test]
fn commands_wait_for_a_session_and_only_repeatable_ones_repeat() {
    let mut script = Script::new(config());
    script.machine.execute(script.now, 1, Command::ListDevices);
    script.log_in(EPOCH, Vec::new());
    let lists = |kind: &RequestKind| matches!(kind, RequestKind::Command(Command::ListDevices));
    assert!(script.try_take(lists).is_some());
    let group = ConversationRef::Group(GroupName::parse("rust").unwrap());
    script.machine.execute(script.now, 2, Command::LeaveGroup(group));
    script.machine.disconnected(script.now);
    script.drain();
    let interrupted = |action: &Action| {
        matches!(
            action,
            Action::Finish {
                command_id: 2,
                result: Err(ClientError::Interrupted)
            }
        )
    };
    assert!(script.actions.iter().any(interrupted));
    script.sent.clear();
    script.log_in(EPOCH, Vec::new());
    assert!(script.try_take(lists).is_some());
}

#[test]
fn commands_keep_their_order_over_a_lost_connection() {
    let mut script = Script::online(config(), Vec::new());
    let rename = |name: &str| {
        Command::UpdateProfile(ProfileChanges {
            display_name: Some(DisplayName::parse(name).unwrap()),
            ..ProfileChanges::default()
        })
    };
    for (command_id, name) in [(1, "one"), (2, "two")] {
        script.machine.execute(script.now, command_id, rename(name));
    }
    // The client sends no new commands to a server that asked it to leave.
    script.push(Push::GoAway { retry_after_ms: 0 });
    script.machine.execute(script.now, 3, rename("three"));
    script.machine.disconnected(script.now);
    script.machine.execute(script.now, 4, rename("four"));
    script.drain();
    script.sent.clear();
    script.log_in(EPOCH, Vec::new());
    script.drain();
    let names = script.sent.iter().filter_map(|request| match &request.kind {
        RequestKind::Command(Command::UpdateProfile(changes)) => Some(changes.display_name.clone()?.to_string()),
        _ => None,
    });
    assert_eq!(names.collect::<Vec<_>>(), ["one", "two", "three", "four"]);
}

#[test]
fn idle_session_is_pinged_and_an_unresponsive_connection_is_left() {
    let mut script = Script::online(config(), Vec::new());
    script.pass(Duration::from_secs(30));
    assert!(script.try_take(|kind| matches!(kind, RequestKind::Ping)).is_some());
    script.pass(Duration::from_secs(20));
    assert!(reconnect_delay(&mut script).is_some());
}

#[test]
fn receive_nothing_delivers_nothing() {
    let mut config = config();
    config.receive = Receive::Nothing;
    let mut script = Script::online(config, vec![group_info(0, 5)]);
    script.event(6);
    assert!(script.take_page().is_none());
    assert!(script.events().is_empty());
}

#[test]
fn unread_counts_follow_messages_and_read_marks() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    (1..=3).for_each(|seq| script.event(seq));
    let unread = |script: &mut Script| {
        script.drain();
        let known = script.actions.iter().rev().find_map(|action| match action {
            Action::Conversation(info) => Some((info.unread, info.read_seq.0)),
            _ => None,
        });
        known.unwrap()
    };
    assert_eq!(unread(&mut script), (3, 0));
    let recall = |seq, target| {
        let body = EventBody::Recall { target: Seq(target) };
        Push::Event(Event {
            kind: EventKind::Recall,
            target: Some(Seq(target)),
            body: body::encode(&body),
            ..event_of(seq, OTHER, None)
        })
    };
    script.push(recall(4, 1));
    assert_eq!(unread(&mut script), (2, 0), "a recalled message is not unread");
    let read = |script: &mut Script, seq| {
        let command = Command::MarkRead {
            conversation: GROUP_ID,
            seq: Seq(seq),
        };
        script.machine.execute(script.now, 1, command);
        let request = script.take(|kind| matches!(kind, RequestKind::Command(Command::MarkRead { .. })));
        script.outcome(request, Outcome::Done);
    };
    read(&mut script, 3);
    assert_eq!(
        unread(&mut script),
        (1, 3),
        "the count is bounded by the events after the mark, the recall at 4 included"
    );
    script.event(5);
    script.push(recall(6, 2));
    assert_eq!(unread(&mut script), (2, 3), "the message was read before its recall");
    script.push(Push::Read {
        conversation: GROUP_ID,
        read_seq: Seq(3),
        unread: 1,
        unread_mentions: 0,
    });
    script.push(recall(7, 5));
    assert_eq!(
        unread(&mut script),
        (1, 3),
        "the server may have counted the recall already"
    );
    read(&mut script, 9);
    assert_eq!(unread(&mut script), (0, 7), "the mark stops at the last known event");
    script.push(Push::Event(event_of(8, ME, None)));
    assert_eq!(unread(&mut script), (0, 8), "sending moves the read mark");
}

#[test]
fn tokens_of_a_new_password_are_saved() {
    let mut script = Script::online(config(), vec![]);
    let (old, new) = (Secret::new(*b"old password"), Secret::new(*b"new password"));
    script
        .machine
        .execute(script.now, 5, Command::ChangePassword { old, new });
    let request = script.take(|kind| matches!(kind, RequestKind::Command(Command::ChangePassword { .. })));
    let (session_token, device_token) = (Secret::new([7; 32]), Secret::new([8; 32]));
    let tokens = SessionTokens::new(session_token.clone(), device_token.clone());
    script.outcome(request, Outcome::PasswordChanged(tokens.clone()));
    script.drain();
    let is_saved = |action: &Action| matches!(action, Action::TokensChanged(changed) if *changed == tokens);
    assert!(script.actions.iter().any(is_saved));
    script.machine.disconnected(script.now);
    script.machine.connected(script.now);
    let resumed = script.try_take(|kind| matches!(kind, RequestKind::Resume(_)));
    let Some(RequestKind::Resume(resume)) = resumed.map(|request| request.kind) else {
        panic!("not resumed")
    };
    assert_eq!(resume.session_token, session_token);
}
