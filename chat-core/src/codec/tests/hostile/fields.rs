//! Tests of requests with missing or contradictory fields, exceeded limits, special characters, or
//! enum values that are unknown or unsuitable.

use super::*;

#[test]
fn decode_request_rejects_missing_and_contradictory_fields() {
    let no_user = proto::UserRef { r#ref: None };
    let no_conversation = Some(proto::ConversationRef { r#ref: None });
    let commands = [
        WireCommand::Block(proto::Block { user: None }),
        WireCommand::Block(proto::Block {
            user: Some(no_user.clone()),
        }),
        WireCommand::LeaveGroup(proto::LeaveGroup { group: None }),
        WireCommand::LeaveGroup(proto::LeaveGroup { group: no_conversation }),
        WireCommand::GetConversation(proto::GetConversation {
            conversation: Some(proto::ConversationRef {
                r#ref: Some(proto::conversation_ref::Ref::Direct(no_user)),
            }),
        }),
        WireCommand::SearchUsers(proto::SearchUsers {
            query: "  ".into(),
            limit: 0,
        }),
        WireCommand::ReadHistory(proto::ReadHistory {
            after: None,
            before: None,
            ..history()
        }),
        WireCommand::ReadHistory(proto::ReadHistory {
            after: Some(1),
            before: Some(9),
            ..history()
        }),
        WireCommand::Resume(proto::Resume {
            session_token: Bytes::new(),
            ..resume()
        }),
    ];
    for command in commands {
        let what = format!("{command:?}");
        assert_eq!(error_code(command), Some(ReplyCode::InvalidArgument), "{what}");
    }
}

#[test]
fn decode_request_rejects_values_beyond_their_limits_and_control_characters() {
    let commands = [
        WireCommand::SendMessage(proto::SendMessage {
            mentions: (1..=51).collect(),
            ..send()
        }),
        WireCommand::GetUsers(proto::GetUsers {
            users: (1..=201).filter_map(by_id).collect(),
        }),
        WireCommand::SearchUsers(proto::SearchUsers {
            query: "al".into(),
            limit: 51,
        }),
        WireCommand::SearchGroups(proto::SearchGroups {
            query: "x".repeat(257),
            limit: 1,
        }),
        WireCommand::SearchUsers(proto::SearchUsers {
            query: "İ".repeat(128), // longer in lower case
            limit: 1,
        }),
        WireCommand::ListMembers(proto::ListMembers {
            group: conversation(9),
            after_user: 0,
            limit: 501,
        }),
        WireCommand::ListContacts(proto::ListContacts {
            after_user: 0,
            limit: 501,
        }),
        WireCommand::ListContacts(proto::ListContacts {
            after_user: u64::MAX,
            limit: 1,
        }),
        WireCommand::ReadHistory(proto::ReadHistory {
            limit: 501,
            ..history()
        }),
        WireCommand::MuteMember(proto::MuteMember {
            group: conversation(9),
            user: by_id(1),
            duration_ms: u64::MAX,
        }),
        WireCommand::Login(proto::Login {
            device_name: "x".repeat(65),
            ..login()
        }),
        WireCommand::Login(proto::Login {
            device_name: "phone\nrevoked  laptop".to_owned(),
            ..login()
        }),
        WireCommand::Login(proto::Login {
            device_name: "phone \u{202e}".to_owned(),
            ..login()
        }),
        WireCommand::Hello(proto::Hello {
            client: "demo\u{1b}[2J".to_owned(),
            min_version: 1,
            max_version: 1,
        }),
        WireCommand::Login(proto::Login {
            device_token: Bytes::from(vec![1; 129]),
            ..login()
        }),
        WireCommand::Hello(proto::Hello {
            client: "x".repeat(65),
            min_version: 1,
            max_version: 1,
        }),
    ];
    for command in commands {
        assert_eq!(error_code(command), Some(ReplyCode::InvalidArgument));
    }
}

/// Names in Arabic and Hebrew need directional marks.
#[test]
fn device_names_may_have_directional_marks_but_no_embeddings_separators_or_controls() {
    for mark in ['\u{61c}', '\u{200e}', '\u{200f}'] {
        let command = WireCommand::Login(proto::Login {
            device_name: format!("{mark}הטלפון של דנה"),
            ..login()
        });
        assert_eq!(error_code(command), None);
    }
    for refused in [
        "\u{202a}", "\u{2067}", "\u{2028}", "\u{feff}", "\u{fff9}", "\u{85}", "\t",
    ] {
        let command = WireCommand::Login(proto::Login {
            device_name: refused.to_owned(),
            ..login()
        });
        assert_eq!(error_code(command), Some(ReplyCode::InvalidArgument), "{refused:?}");
    }
}

#[test]
fn decode_request_rejects_unknown_and_unsuitable_enum_values() {
    for number in [-1, 99, i32::MIN, i32::MAX] {
        let commands = [
            WireCommand::SetPresence(proto::SetPresence { presence: number }),
            WireCommand::UpdateProfile(proto::UpdateProfile {
                direct_policy: number,
                display_name: None,
            }),
            WireCommand::CreateGroup(proto::CreateGroup {
                join_policy: number,
                ..create()
            }),
            WireCommand::SetRole(proto::SetRole {
                group: conversation(9),
                user: by_id(1),
                role: number,
            }),
        ];
        for command in commands {
            assert_eq!(error_code(command), Some(ReplyCode::InvalidArgument), "{number}");
        }
    }
    let owner = proto::Role::Owner as i32;
    let set_role = proto::SetRole {
        group: conversation(9),
        user: by_id(1),
        role: owner,
    };
    assert_eq!(
        error_code(WireCommand::SetRole(set_role)),
        Some(ReplyCode::InvalidArgument),
        "set_role cannot make an owner"
    );
    let offline = proto::Presence::Offline as i32;
    let set_presence = WireCommand::SetPresence(proto::SetPresence { presence: offline });
    assert_eq!(
        error_code(set_presence),
        Some(ReplyCode::InvalidArgument),
        "a connected user cannot be offline"
    );
}
