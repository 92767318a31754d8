//! Samples of every kind of packet and event body, with values that are easy to find in a hex dump.

mod answers;
mod requests;

use bytes::Bytes;

use crate::codec::{Answer, Failure, Hello, LoggedIn, NodeEntry, RequestKind, Welcome, body};
use crate::model::*;

pub(super) use answers::{pushes, results};
pub(super) use requests::requests;

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

/// Returns an event as a client receives it, without the fields that are not sent.
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
        has_more: true,
        first_seq: Seq(1),
        last_seq: Seq(306),
    }
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
        unread_mentions: 2,
        peer_delivered_seq: Seq(270),
        peer_read_seq: Seq(260),
        last_time: TIME,
        members_version: Seq::ZERO,
        active: true,
    }
}

/// Returns the packet of a frame: the bytes after its length, which takes 4 bytes.
pub(super) fn unframe(frame: &[u8]) -> Bytes {
    let (prefix, packet) = frame.split_at(4);
    assert_eq!(u32::from_be_bytes(prefix.try_into().unwrap()) as usize, packet.len());
    Bytes::copy_from_slice(packet)
}
