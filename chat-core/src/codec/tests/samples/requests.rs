//! Sample requests, the packets that clients send.

use super::*;

pub(crate) fn requests() -> Vec<(&'static str, RequestKind)> {
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
                account: Some(UserRef::Name(name())),
                secret: secret(),
                device: DEVICE,
                device_name: "laptop".into(),
                device_token: Some(Secret::new([0xd7; 32])),
            }),
        ),
        (
            "login_by_id",
            RequestKind::Login(Login {
                account: Some(UserRef::Id(UserId(8))),
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

fn commands() -> Vec<(&'static str, Command)> {
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
            Command::UpdateProfile(ProfileChanges {
                display_name: Some(DisplayName::parse("Ming").unwrap()),
                direct_policy: Some(DirectPolicy::Everyone),
            }),
        ),
        ("set_presence", Command::SetPresence(PresenceState::Idle)),
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
        (
            "list_contacts",
            Command::ListContacts {
                after: UserId(7),
                limit: 200,
            },
        ),
        (
            "create_group",
            Command::CreateGroup(NewGroup {
                client_message_id: MESSAGE_ID,
                name: GroupName::parse("Rust 学习").unwrap(),
                description: Description::new("about").unwrap(),
                join_policy: JoinPolicy::Approval,
                history_visible: true,
                unlisted: true,
            }),
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
                changes: GroupChanges {
                    name: Some(GroupName::parse("Rust").unwrap()),
                    description: Some(Description::default()),
                    history_visible: Some(false),
                    ..GroupChanges::default()
                },
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
        (
            "list_conversations",
            Command::ListConversations(ConversationQuery::default()),
        ),
        (
            "list_conversations_page",
            Command::ListConversations(ConversationQuery {
                after: ConversationId(9),
                limit: 500,
                include_ended: true,
                include_descriptions: true,
            }),
        ),
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
