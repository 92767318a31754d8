//! One of everything, with values that are easy to find again in a hex dump.

use bytes::Bytes;

use crate::codec::{Answer, Failure, Hello, LoggedIn, NodeEntry, RequestKind, Welcome, body};
use crate::model::*;

pub(super) const DEVICE: DeviceId = DeviceId([0xd0; 16]);
pub(super) const MESSAGE_ID: ClientMessageId = ClientMessageId([0xc1; 16]);
pub(super) const EVENT_ID: EventId = EventId([0xe1; 16]);
pub(super) const EPOCH: StoreEpoch = StoreEpoch([0x5e; 16]);
pub(super) const TIME: Timestamp = Timestamp(1_700_000_000_123);

pub(super) fn bodies() -> Vec<(&'static str, EventBody)> {
    let user = UserId(8);
    let group = ConversationId(9);
    let group_name = || "Rust 学习".to_owned();
    vec![
        (
            "message",
            EventBody::Message(Message {
                text: "héllo 世界 🍣".into(),
                reply_to: Some(Seq(3)),
                mentions: vec![UserId(8), UserId(300)],
                mention_all: true,
            }),
        ),
        (
            "message_plain",
            EventBody::Message(Message {
                text: "hi".into(),
                ..Message::default()
            }),
        ),
        ("message_recalled", EventBody::Message(Message::default())),
        (
            "edit",
            EventBody::Edit {
                target: Seq(7),
                text: "fixed".into(),
            },
        ),
        ("recall", EventBody::Recall { target: Seq(7) }),
        (
            "reaction",
            EventBody::Reaction {
                target: Seq(7),
                emoji: "👍".into(),
                removed: false,
            },
        ),
        (
            "reaction_removed",
            EventBody::Reaction {
                target: Seq(7),
                emoji: "👍".into(),
                removed: true,
            },
        ),
        ("group_created", EventBody::GroupCreated { name: group_name() }),
        ("member_joined", EventBody::MemberJoined { user, by: None }),
        (
            "member_let_in",
            EventBody::MemberJoined {
                user,
                by: Some(UserId(1)),
            },
        ),
        ("member_left", EventBody::MemberLeft { user }),
        ("member_kicked", EventBody::MemberKicked { user, banned: true }),
        (
            "role_changed",
            EventBody::RoleChanged {
                user,
                role: Role::Admin,
            },
        ),
        ("ownership_transferred", EventBody::OwnershipTransferred { to: user }),
        ("member_muted", EventBody::MemberMuted { user, until: TIME }),
        (
            "group_updated",
            EventBody::GroupUpdated {
                name: group_name(),
                description: "about".into(),
                join_policy: JoinPolicy::Approval,
                history_visible: true,
                unlisted: true,
            },
        ),
        ("group_deleted", EventBody::GroupDeleted),
        (
            "friend_requested",
            EventBody::FriendRequested {
                from: user,
                note: "it's me".into(),
            },
        ),
        (
            "friend_answered",
            EventBody::FriendAnswered {
                by: user,
                accepted: true,
            },
        ),
        ("friend_removed", EventBody::FriendRemoved { by: user }),
        (
            "group_invited",
            EventBody::GroupInvited {
                group,
                group_name: group_name(),
                by: user,
            },
        ),
        (
            "join_requested",
            EventBody::JoinRequested {
                group,
                group_name: group_name(),
                user,
                note: "please".into(),
            },
        ),
        (
            "join_answered",
            EventBody::JoinAnswered {
                group,
                group_name: group_name(),
                accepted: true,
            },
        ),
        (
            "removed_from_group",
            EventBody::RemovedFromGroup {
                group,
                group_name: group_name(),
                by: user,
            },
        ),
        (
            "invitation_declined",
            EventBody::InvitationDeclined {
                group,
                group_name: group_name(),
                user,
            },
        ),
        (
            "conversation_opened",
            EventBody::ConversationOpened {
                conversation: group,
                peer: user,
            },
        ),
    ]
}

/// An event as a client gets it: without what does not travel.
pub(super) fn event(body: &EventBody) -> Event {
    Event {
        conversation: ConversationId(9),
        seq: Seq(300),
        id: EVENT_ID,
        sender: UserId(1),
        device: None,
        client_message_id: Some(MESSAGE_ID),
        fingerprint: 0,
        time: TIME,
        kind: body.kind(),
        target: body.target(),
        message_count: 0,
        edited_seq: None,
        recalled_seq: None,
        body: body::encode(body),
    }
}

pub(super) fn page() -> HistoryPage {
    let text = |text: &str| {
        EventBody::Message(Message {
            text: text.into(),
            ..Message::default()
        })
    };
    let plain = event(&text("one"));
    let edited = Event {
        seq: Seq(301),
        edited_seq: Some(Seq(305)),
        client_message_id: None,
        ..event(&text("two"))
    };
    let recalled = Event {
        seq: Seq(302),
        recalled_seq: Some(Seq(306)),
        body: body::tombstone(),
        ..event(&text(""))
    };
    let entry = |event, edited_text: Option<&str>| HistoryEvent {
        event,
        edited_text: edited_text.map(str::to_owned),
    };
    HistoryPage {
        conversation: ConversationId(9),
        events: vec![entry(plain, None), entry(edited, Some("2")), entry(recalled, None)],
        more: true,
        first_seq: Seq(1),
        last_seq: Seq(306),
    }
}

pub(super) fn pushes() -> Vec<(&'static str, Push)> {
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
                mentions: 1,
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

pub(super) fn user(policy: Option<DirectPolicy>) -> UserInfo {
    UserInfo {
        id: UserId(8),
        name: "小明".into(),
        display_name: "Ming 🍣".into(),
        direct_policy: policy,
    }
}

fn group() -> GroupInfo {
    GroupInfo {
        id: ConversationId(9),
        profile: GroupProfile {
            name: "Rust 学习".into(),
            key: String::new(),
            skeleton: String::new(),
            description: "about".into(),
            join_policy: JoinPolicy::Invite,
            history_visible: true,
            unlisted: true,
        },
        member_count: 3,
    }
}

pub(super) fn conversation(view: ConversationView) -> ConversationInfo {
    ConversationInfo {
        id: ConversationId(9),
        view,
        role: Role::Owner,
        first_seq: Seq(1),
        last_seq: Seq(300),
        cursor: Seq(290),
        read_seq: Seq(280),
        unread: 5,
        mentions: 2,
        peer_delivered_seq: Seq(270),
        peer_read_seq: Seq(260),
        last_time: TIME,
        members_version: Seq::ZERO,
        active: true,
    }
}

pub(super) fn results() -> Vec<(&'static str, Result<Answer, Failure>)> {
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
                draining: true,
            }])),
        ),
        ("pong", Ok(Answer::Pong(TIME))),
        ("done", outcome(Outcome::Done)),
        ("devices", outcome(Outcome::Devices(vec![device]))),
        ("user", outcome(Outcome::User(user(Some(DirectPolicy::Everyone))))),
        (
            "password_changed",
            outcome(Outcome::PasswordChanged {
                session_token: Secret::new([7; 32]),
                device_token: Secret::new([8; 32]),
            }),
        ),
        ("users", outcome(Outcome::Users(vec![user(None), user(None)]))),
        ("contacts", outcome(Outcome::Contacts(vec![contact]))),
        (
            "conversations",
            outcome(Outcome::Conversations(vec![conversation(ConversationView::Inbox)])),
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
            outcome(Outcome::Members {
                members: vec![member],
                more: true,
            }),
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

pub(super) fn requests() -> Vec<(&'static str, RequestKind)> {
    let secret = || Secret::new("correct horse");
    let name = || UserName::parse("小明").unwrap();
    let mut all = vec![
        (
            "hello",
            RequestKind::Hello(Hello {
                min_version: 1,
                max_version: 1,
                client: "chat-client 0.1.0".into(),
            }),
        ),
        (
            "register",
            RequestKind::Register(Registration {
                name: name(),
                password: secret(),
                display_name: Some(DisplayName::parse("Ming 🍣").unwrap()),
            }),
        ),
        (
            "login",
            RequestKind::Login(Login {
                account: UserRef::Name(name()),
                secret: secret(),
                device: DEVICE,
                device_name: "laptop".into(),
                device_token: Some(Secret::new([0xd7; 32])),
            }),
        ),
        (
            "login_by_id",
            RequestKind::Login(Login {
                account: UserRef::Id(UserId(8)),
                secret: secret(),
                device: DEVICE,
                device_name: String::new(),
                device_token: None,
            }),
        ),
        (
            "resume",
            RequestKind::Resume(Resume {
                user: UserId(8),
                device: DEVICE,
                session_token: Secret::new([0x51; 32]),
            }),
        ),
        ("list_nodes", RequestKind::ListNodes),
        ("ping", RequestKind::Ping),
    ];
    all.extend(
        commands()
            .into_iter()
            .map(|(name, command)| (name, RequestKind::Command(command))),
    );
    all
}

pub(super) fn commands() -> Vec<(&'static str, Command)> {
    let by_id = || UserRef::Id(UserId(8));
    let by_name = || UserRef::Name(UserName::parse("小明").unwrap());
    let group = || ConversationRef::Group(GroupName::parse("Rust 学习").unwrap());
    let here = || ConversationRef::Id(ConversationId(9));
    let note = || Note::new("it's me").unwrap();
    let draft = |content| Draft {
        client_message_id: MESSAGE_ID,
        content,
    };
    let send = |conversation, content| Command::Send {
        conversation,
        draft: draft(content),
    };
    let text = |text: &str| MessageText::new(text).unwrap();
    let page = |from| Page {
        from,
        max_events: 100,
        max_bytes: 256 * 1024,
    };
    vec![
        ("logout", Command::Logout),
        (
            "change_password",
            Command::ChangePassword {
                old: Secret::new("correct horse"),
                new: Secret::new("battery staple"),
            },
        ),
        ("list_devices", Command::ListDevices),
        ("revoke_device", Command::RevokeDevice(DEVICE)),
        (
            "update_profile",
            Command::UpdateProfile {
                display_name: Some(DisplayName::parse("Ming").unwrap()),
                direct_policy: Some(DirectPolicy::Everyone),
            },
        ),
        ("set_status", Command::SetStatus(PresenceState::Idle)),
        (
            "search_users",
            Command::SearchUsers {
                query: "al".into(),
                limit: 20,
            },
        ),
        ("get_users", Command::GetUsers(vec![by_id(), by_name()])),
        (
            "request_friend",
            Command::RequestFriend {
                user: by_name(),
                note: note(),
            },
        ),
        (
            "answer_friend",
            Command::AnswerFriend {
                user: by_id(),
                accept: true,
            },
        ),
        ("remove_friend", Command::RemoveFriend(by_id())),
        ("block", Command::Block(by_id())),
        ("unblock", Command::Unblock(by_id())),
        ("list_contacts", Command::ListContacts),
        (
            "create_group",
            Command::CreateGroup {
                client_message_id: MESSAGE_ID,
                name: GroupName::parse("Rust 学习").unwrap(),
                description: Description::new("about").unwrap(),
                join_policy: JoinPolicy::Approval,
                history_visible: true,
                unlisted: true,
            },
        ),
        (
            "search_groups",
            Command::SearchGroups {
                query: "rust".into(),
                limit: 50,
            },
        ),
        (
            "join_group",
            Command::JoinGroup {
                group: group(),
                note: note(),
            },
        ),
        (
            "answer_join",
            Command::AnswerJoin {
                group: here(),
                user: by_id(),
                accept: true,
            },
        ),
        (
            "invite_member",
            Command::InviteMember {
                group: here(),
                user: by_name(),
            },
        ),
        ("decline_invitation", Command::DeclineInvitation(here())),
        ("leave_group", Command::LeaveGroup(here())),
        ("delete_group", Command::DeleteGroup(here())),
        (
            "kick_member",
            Command::KickMember {
                group: here(),
                user: by_id(),
                ban: true,
            },
        ),
        (
            "unban_member",
            Command::UnbanMember {
                group: here(),
                user: by_id(),
            },
        ),
        (
            "mute_member",
            Command::MuteMember {
                group: here(),
                user: by_id(),
                duration_ms: 60_000,
            },
        ),
        (
            "set_role",
            Command::SetRole {
                group: here(),
                user: by_id(),
                role: Role::Admin,
            },
        ),
        (
            "transfer_ownership",
            Command::TransferOwnership {
                group: here(),
                user: by_id(),
            },
        ),
        (
            "update_group",
            Command::UpdateGroup {
                group: here(),
                name: Some(GroupName::parse("Rust").unwrap()),
                description: Some(Description::default()),
                join_policy: None,
                history_visible: Some(false),
                unlisted: None,
            },
        ),
        (
            "list_members",
            Command::ListMembers {
                group: here(),
                after: UserId(7),
                limit: 200,
            },
        ),
        (
            "send_message",
            send(
                here(),
                DraftContent::Message {
                    text: text("héllo 世界 🍣"),
                    reply_to: Some(Seq(3)),
                    mentions: vec![UserId(8), UserId(300)],
                    mention_all: true,
                },
            ),
        ),
        (
            "send_message_direct",
            send(
                ConversationRef::Direct(by_name()),
                DraftContent::Message {
                    text: text("hi"),
                    reply_to: None,
                    mentions: Vec::new(),
                    mention_all: false,
                },
            ),
        ),
        (
            "edit_message",
            send(
                here(),
                DraftContent::Edit {
                    target: Seq(7),
                    text: text("fixed"),
                },
            ),
        ),
        ("recall_message", send(here(), DraftContent::Recall { target: Seq(7) })),
        (
            "react",
            send(
                here(),
                DraftContent::React {
                    target: Seq(7),
                    emoji: Emoji::new("👍").unwrap(),
                    remove: true,
                },
            ),
        ),
        ("list_conversations", Command::ListConversations),
        (
            "get_conversation",
            Command::GetConversation(ConversationRef::Direct(by_id())),
        ),
        (
            "read_history_after",
            Command::ReadHistory {
                conversation: here(),
                page: page(PageFrom::After(Seq::ZERO)),
            },
        ),
        (
            "read_history_before",
            Command::ReadHistory {
                conversation: here(),
                page: page(PageFrom::Before(Seq(300))),
            },
        ),
        (
            "read_history_newest",
            Command::ReadHistory {
                conversation: here(),
                page: page(PageFrom::Newest),
            },
        ),
        (
            "acknowledge",
            Command::Acknowledge {
                conversation: ConversationId(9),
                seq: Seq(300),
            },
        ),
        (
            "mark_read",
            Command::MarkRead {
                conversation: ConversationId(9),
                seq: Seq(300),
            },
        ),
        (
            "typing",
            Command::Typing {
                conversation: ConversationId(9),
                stopped: true,
            },
        ),
    ]
}

/// A frame's packet.
pub(super) fn unframe(frame: &[u8]) -> Bytes {
    let (prefix, packet) = frame.split_at(4);
    assert_eq!(u32::from_be_bytes(prefix.try_into().unwrap()) as usize, packet.len());
    Bytes::copy_from_slice(packet)
}
