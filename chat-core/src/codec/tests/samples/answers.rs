//! Sample replies and pushes, the packets that servers send.

use super::*;

pub(crate) fn pushes() -> Vec<(&'static str, Push)> {
    let conversation = ConversationId(9);
    let user = UserId(8);
    vec![
        ("event", Push::Event(event(&bodies()[0].1))),
        (
            "receipt",
            Push::Receipt {
                conversation,
                user,
                delivered_seq: Seq(300),
                read_seq: Seq(299),
            },
        ),
        (
            "read",
            Push::Read {
                conversation,
                read_seq: Seq(299),
                unread: 1,
                unread_mentions: 1,
            },
        ),
        (
            "typing",
            Push::Typing {
                conversation,
                user,
                stopped: false,
            },
        ),
        (
            "typing_stopped",
            Push::Typing {
                conversation,
                user,
                stopped: true,
            },
        ),
        (
            "presence",
            Push::Presence {
                user,
                state: PresenceState::Idle,
            },
        ),
        (
            "behind",
            Push::Behind {
                conversation,
                last_seq: Seq(300),
            },
        ),
        ("go_away", Push::GoAway { retry_after_ms: 2500 }),
        ("session_closed", Push::Closed(CloseCode::Replaced)),
    ]
}

pub(crate) fn results() -> Vec<(&'static str, Result<Answer, Failure>)> {
    let outcome = |outcome| Ok(Answer::Outcome(outcome));
    let member = MemberInfo {
        user: user(None),
        role: Role::Admin,
        state: MemberState::Active,
        muted_until: TIME,
        delivered_seq: Seq(300),
        read_seq: Seq(299),
    };
    let device = DeviceInfo {
        id: DEVICE,
        name: "laptop".into(),
        created: TIME,
        last_login: Timestamp(TIME.0 + 1),
        online: true,
        current: true,
    };
    let contact = ContactInfo {
        user: user(None),
        state: ContactState::Friend,
        blocked: true,
        note: "it's me".into(),
        since: TIME,
        presence: Some(PresenceState::Online),
    };
    let registered = UserInfo {
        display_name: String::new(),
        ..user(None)
    };
    vec![
        (
            "welcome",
            Ok(Answer::Welcome(Welcome {
                version: 1,
                server: "chat-server 0.1.0".into(),
                server_time: TIME,
                max_packet_bytes: 65536,
                max_text_bytes: 16384,
                heartbeat_ms: 30000,
                store_epoch: EPOCH,
            })),
        ),
        ("registered", Ok(Answer::Registered(registered))),
        (
            "logged_in",
            Ok(Answer::LoggedIn(Box::new(LoggedIn {
                user: user(Some(DirectPolicy::Friends)),
                session_token: Some(Secret::new([0x51; 32])),
                device_token: Some(Secret::new([0xd7; 32])),
                store_epoch: EPOCH,
                conversations: vec![
                    conversation(ConversationView::Direct(user(None))),
                    conversation(ConversationView::Group(group())),
                    conversation(ConversationView::Inbox),
                ],
                server_time: TIME,
                has_more: false,
            }))),
        ),
        (
            "nodes",
            Ok(Answer::Nodes(vec![NodeEntry {
                addresses: vec![
                    "sc1://chat-1.example:7400".to_owned(),
                    "tls://chat-1.example:443".to_owned(),
                ],
                sessions: 17,
                accepts_no_sessions: true,
            }])),
        ),
        ("pong", Ok(Answer::Pong(TIME))),
        ("done", outcome(Outcome::Done)),
        ("devices", outcome(Outcome::Devices(vec![device]))),
        ("user", outcome(Outcome::User(user(Some(DirectPolicy::Everyone))))),
        (
            "password_changed",
            outcome(Outcome::PasswordChanged(SessionTokens::new(
                Secret::new([7; 32]),
                Secret::new([8; 32]),
            ))),
        ),
        ("users", outcome(Outcome::Users(vec![user(None), user(None)]))),
        (
            "contacts",
            outcome(Outcome::Contacts(ContactPage::new(vec![contact.clone()], false))),
        ),
        (
            "contacts_page",
            outcome(Outcome::Contacts(ContactPage::new(vec![contact], true))),
        ),
        (
            "conversations",
            outcome(Outcome::Conversations(ConversationPage::new(vec![conversation(
                ConversationView::Inbox,
            )]))),
        ),
        (
            "conversations_page",
            outcome(Outcome::Conversations(ConversationPage {
                conversations: vec![conversation(ConversationView::Inbox)],
                next: Some(ConversationId(300)),
            })),
        ),
        (
            "conversation",
            outcome(Outcome::Conversation(Box::new(conversation(ConversationView::Group(
                group(),
            ))))),
        ),
        ("groups", outcome(Outcome::Groups(vec![group()]))),
        (
            "members",
            outcome(Outcome::Members(MemberPage::new(vec![member], true))),
        ),
        (
            "appended",
            outcome(Outcome::Appended(Appended {
                conversation: ConversationId(9),
                seq: Seq(300),
                event_id: EVENT_ID,
                time: TIME,
                duplicate: true,
            })),
        ),
        ("history", outcome(Outcome::History(page()))),
        (
            "failure",
            Err(Failure::new(ReplyCode::Throttled, "too many attempts").retry_after(1500)),
        ),
    ]
}
