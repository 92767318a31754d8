//! Tests of requests with missing or contradictory fields, exceeded limits, special characters or
//! unknown enum values.

use super::*;

#[test]
fn decode_request_rejects_missing_and_contradictory_fields() {
    let no_user = proto::UserRef { r#ref: None };
    let no_conversation = Some(proto::ConversationRef { r#ref: None });
    let commands = [
        Wire::Block(proto::Block { user: None }),
        Wire::Block(proto::Block {
            user: Some(no_user.clone()),
        }),
        Wire::LeaveGroup(proto::LeaveGroup { group: None }),
        Wire::LeaveGroup(proto::LeaveGroup { group: no_conversation }),
        Wire::GetConversation(proto::GetConversation {
            conversation: Some(proto::ConversationRef {
                r#ref: Some(proto::conversation_ref::Ref::Direct(no_user)),
            }),
        }),
        Wire::SearchUsers(proto::SearchUsers {
            query: "  ".into(),
            limit: 0,
        }),
        Wire::ReadHistory(proto::ReadHistory {
            after: None,
            before: None,
            ..history()
        }),
        Wire::ReadHistory(proto::ReadHistory {
            after: Some(1),
            before: Some(9),
            ..history()
        }),
        Wire::Resume(proto::Resume {
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
        Wire::SendMessage(proto::SendMessage {
            mentions: (1..=51).collect(),
            ..send()
        }),
        Wire::GetUsers(proto::GetUsers {
            users: (1..=201).filter_map(by_id).collect(),
        }),
        Wire::SearchUsers(proto::SearchUsers {
            query: "al".into(),
            limit: 51,
        }),
        Wire::SearchGroups(proto::SearchGroups {
            query: "x".repeat(257),
            limit: 1,
        }),
        Wire::SearchUsers(proto::SearchUsers {
            query: "İ".repeat(128), // longer in lower case
            limit: 1,
        }),
        Wire::ListMembers(proto::ListMembers {
            group: conversation(9),
            after_user: 0,
            limit: 501,
        }),
        Wire::ReadHistory(proto::ReadHistory {
            limit: 501,
            ..history()
        }),
        Wire::MuteMember(proto::MuteMember {
            group: conversation(9),
            user: by_id(1),
            duration_ms: u64::MAX,
        }),
        Wire::Login(proto::Login {
            device_name: "x".repeat(65),
            ..login()
        }),
        Wire::Login(proto::Login {
            device_name: "phone\nrevoked  laptop".to_owned(),
            ..login()
        }),
        Wire::Login(proto::Login {
            device_name: "phone \u{202e}".to_owned(),
            ..login()
        }),
        Wire::Hello(proto::Hello {
            client: "demo\u{1b}[2J".to_owned(),
            min_version: 1,
            max_version: 1,
        }),
        Wire::Login(proto::Login {
            device_token: Bytes::from(vec![1; 129]),
            ..login()
        }),
        Wire::Hello(proto::Hello {
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
fn device_names_may_have_directional_marks_but_no_other_special_characters() {
    for mark in ['\u{61c}', '\u{200e}', '\u{200f}'] {
        let command = Wire::Login(proto::Login {
            device_name: format!("{mark}הטלפון של דנה"),
            ..login()
        });
        assert_eq!(error_code(command), None);
    }
    for refused in [
        "\u{202a}", "\u{2067}", "\u{2028}", "\u{feff}", "\u{fff9}", "\u{85}", "\t",
    ] {
        let command = Wire::Login(proto::Login {
            device_name: refused.to_owned(),
            ..login()
        });
        assert_eq!(error_code(command), Some(ReplyCode::InvalidArgument), "{refused:?}");
    }
}

#[test]
fn decode_request_rejects_unknown_enum_values() {
    for number in [-1, 99, i32::MIN, i32::MAX] {
        let commands = [
            Wire::SetStatus(proto::SetStatus { presence: number }),
            Wire::UpdateProfile(proto::UpdateProfile {
                direct_policy: number,
                display_name: None,
            }),
            Wire::CreateGroup(proto::CreateGroup {
                join_policy: number,
                ..create()
            }),
            Wire::SetRole(proto::SetRole {
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
        error_code(Wire::SetRole(set_role)),
        Some(ReplyCode::InvalidArgument),
        "only a transfer makes an owner"
    );
    let offline = proto::Presence::Offline as i32;
    let set_status = Wire::SetStatus(proto::SetStatus { presence: offline });
    assert_eq!(
        error_code(set_status),
        Some(ReplyCode::InvalidArgument),
        "a connected user cannot be offline"
    );
}
