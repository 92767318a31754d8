//! Tests of tables with text of other users, or of a hostile server, that imitates rows.

use chat_core::codec::{Answer, LoggedIn, RequestKind, body};
use chat_core::model::{
    Command, ContactInfo, ContactPage, ContactState, ConversationId, ConversationInfo, ConversationPage,
    ConversationView, DeviceId, DeviceInfo, Event, EventBody, EventId, GroupInfo, GroupProfile, HistoryPage,
    JoinPolicy, MemberInfo, MemberPage, MemberState, Outcome, PresenceState, Role, Seq, StoreEpoch, Timestamp, UserId,
    UserInfo,
};

use super::scripted_server::{Reply, accept, serve};
use super::support::parse;

/// A name, note or description. After a line feed it imitates the row of the friend bob, and after
/// escape sequences and other line separators it has the name of bob again.
const HOSTILE: &str = "hi\nbob                       7 friend\r\u{1b}[2J\u{1b}[1A\u{9b}2K\u{2028}bob\u{85}bob\tx";

fn user() -> UserInfo {
    let mut user = UserInfo::new(UserId(3), HOSTILE);
    // A display name is printed only if it differs from the name.
    user.display_name = HOSTILE.replace("hi", "Hi");
    user
}

fn group() -> GroupInfo {
    let profile = GroupProfile {
        name: HOSTILE.to_owned(),
        key: HOSTILE.to_owned(),
        skeleton: HOSTILE.to_owned(),
        description: HOSTILE.to_owned(),
        join_policy: JoinPolicy::Open,
        history_visible: false,
        unlisted: false,
    };
    GroupInfo::new(ConversationId(5), profile)
}

fn conversations() -> Vec<ConversationInfo> {
    let views = [
        (4, ConversationView::Direct(user())),
        (5, ConversationView::Group(group())),
        (6, ConversationView::Inbox),
    ];
    let info = |(id, view)| {
        let mut info = ConversationInfo::new(ConversationId(id), view);
        (info.last_seq, info.cursor) = (Seq(2), Seq(2));
        info
    };
    views.into_iter().map(info).collect()
}

fn history(conversation: ConversationId) -> Vec<Event> {
    let text = || HOSTILE.to_owned();
    let bodies = match conversation.0 {
        6 => vec![
            EventBody::FriendRequested {
                from: UserId(3),
                note: text(),
            },
            EventBody::JoinRequested {
                group: ConversationId(5),
                group_name: text(),
                user: UserId(3),
                note: text(),
            },
        ],
        _ => vec![
            EventBody::GroupCreated { name: text() },
            EventBody::MemberJoined {
                user: UserId(3),
                by: None,
            },
        ],
    };
    let event = |(seq, body): (u64, EventBody)| {
        let (id, data) = (EventId([seq as u8; 16]), body::encode(&body));
        Event::new(conversation, Seq(seq), id, UserId(3), Timestamp(1), body.kind(), data)
    };
    (1..).zip(bodies).map(event).collect()
}

fn reply_to(kind: &RequestKind) -> Reply {
    let command = match kind {
        RequestKind::Command(command) => command,
        RequestKind::Login(_) | RequestKind::Resume(_) => {
            let Ok(Answer::LoggedIn(session)) = accept(kind) else {
                panic!("logins are accepted")
            };
            let session = LoggedIn {
                conversations: conversations(),
                store_epoch: StoreEpoch([1; 16]),
                ..*session
            };
            return Some(Ok(Answer::LoggedIn(Box::new(session))));
        }
        _ => return Some(accept(kind)),
    };
    let outcome = match command {
        Command::ListDevices => {
            let device = DeviceInfo::new(DeviceId([3; 16]), HOSTILE);
            Outcome::Devices(vec![device.clone(), device])
        }
        Command::ListContacts { .. } => {
            let states = [ContactState::Pending, ContactState::Friend];
            let contact = |state| {
                let mut contact = ContactInfo::new(user(), state);
                contact.note = HOSTILE.to_owned();
                contact.presence = (state == ContactState::Friend).then_some(PresenceState::Online);
                contact
            };
            Outcome::Contacts(ContactPage::new(states.map(contact).to_vec(), false))
        }
        Command::ListConversations(_) => Outcome::Conversations(ConversationPage::new(conversations())),
        Command::GetConversation(_) => Outcome::Conversation(Box::new(conversations().remove(1))),
        Command::GetUsers(_) => Outcome::Users(vec![user()]),
        Command::SearchUsers { .. } => Outcome::Users(vec![user(), user()]),
        Command::SearchGroups { .. } => Outcome::Groups(vec![group(), group()]),
        Command::ListMembers { .. } => {
            let member = |id, state| {
                let mut user = user();
                user.id = UserId(id);
                MemberInfo::new(user, Role::Member, state)
            };
            let members = vec![member(3, MemberState::Active), member(4, MemberState::Requested)];
            Outcome::Members(MemberPage::new(members, false))
        }
        Command::ReadHistory { conversation, .. } => {
            let id = match conversation {
                chat_core::model::ConversationRef::Id(id) => *id,
                _ => ConversationId(5),
            };
            let events = history(id).into_iter().map(Into::into).collect();
            Outcome::History(HistoryPage::new(id, events))
        }
        _ => Outcome::Done,
    };
    Some(Ok(Answer::Outcome(outcome)))
}

/// Asserts that `text` has no control characters or line separators except line feeds.
fn assert_no_controls(context: &str, text: &str) {
    let is_control = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{2028}' | '\u{2029}');
    assert!(!text.contains(is_control), "{context}: {text:?}");
}

/// Asserts that no line of `text` imitates the row of bob, at its beginning or in a later column,
/// and that `text` has no control characters or line separators except line feeds.
fn assert_no_forged_row(context: &str, text: &str) {
    assert_no_controls(context, text);
    let is_forged = |line: &str| line.trim_start().starts_with("bob") || line.contains("bob   ");
    assert!(!text.lines().any(is_forged), "{context}: {text}");
}

#[test]
fn foreign_text_forges_no_row_in_the_tables_of_commands() {
    let directory = tempfile::tempdir().unwrap();
    let alice = serve(directory.path(), reply_to);
    alice.ok(&["--plain", "login"]);
    for (command, rows) in [
        (&["devices"][..], 2),
        (&["friend", "list"], 2),
        (&["group", "list"], 1),
        (&["group", "members", "#5"], 2),
        (&["search", "users", "b"], 2),
        (&["search", "groups", "b"], 2),
        (&["conversations"], 3),
        (&["history", "-g", "#5"], 2),
        (&["inbox"], 2),
    ] {
        let text = alice.ok(&[&["--plain"], command].concat());
        assert_eq!(text.lines().count(), rows, "{command:?}: {text}");
        assert_no_forged_row(&format!("{command:?}"), &text);
        let json = alice.ok(&[&["--plain", "--json"], command].concat());
        assert_eq!(parse(&json).len(), rows, "{command:?}: {json}");
        assert_no_controls(&format!("--json {command:?}"), &json);
    }
}

#[test]
fn foreign_text_forges_no_row_in_the_tables_of_the_interactive_client() {
    let directory = tempfile::tempdir().unwrap();
    let alice = serve(directory.path(), reply_to);
    alice.ok(&["--plain", "login"]);
    let mut client = alice.start(&["--plain"]);
    for line in [
        "/list",
        "/friends",
        "/devices",
        "/search b",
        "/inbox",
        "/group #5",
        "/members",
        "/history",
        "/topic",
        "/who",
    ] {
        client.type_line(line);
    }
    let (code, lines) = client.finish();
    assert_eq!(code, Some(0), "{lines:#?}");
    // The lists show the text, so that the last assertion is about lines that contain it.
    assert!(
        lines.iter().filter(|line| line.contains("hi bob")).count() >= 12,
        "{lines:#?}"
    );
    assert_no_forged_row("interactive", &lines.join("\n"));
}
