//! Tests of the lines: their JSON, which docs/client.md documents, and their text.

use chat_core::model::{
    ConversationId, ConversationView, DeviceId, EventId, GroupProfile, JoinPolicy, Role, Seq, Timestamp, UserId,
};

use super::*;

fn json(line: &impl Show) -> String {
    serde_json::to_string(line).unwrap()
}

fn bob() -> UserInfo {
    let mut bob = UserInfo::new(UserId(2), "bob");
    bob.display_name = "Bob".into();
    bob
}

fn group() -> GroupInfo {
    let mut group = GroupInfo::new(
        ConversationId(4),
        GroupProfile {
            name: "rust".into(),
            key: String::new(),
            skeleton: "rust".into(),
            description: String::new(),
            join_policy: JoinPolicy::Open,
            history_visible: false,
            unlisted: false,
        },
    );
    group.member_count = 2;
    group
}

#[test]
fn lines_have_the_documented_json() {
    let sent = Appended::new(ConversationId(3), Seq(8), EventId([1; 16]), Timestamp(5));
    assert_eq!(
        json(&SentLine::new(
            ConversationName::Direct("bob".into()),
            ClientMessageId([2; 16]),
            &sent
        )),
        r#"{"event":"sent","conversation":{"direct":"bob"},"seq":8,"id":"01010101-0101-0101-0101-010101010101","client_message_id":"02020202-0202-0202-0202-020202020202","time_ms":5}"#
    );
    assert_eq!(
        json(&WhoLine::new(&bob(), "d".into(), "sc1://h:1")),
        r#"{"user":{"id":2,"name":"bob","display_name":"Bob"},"direct_policy":"friends","device":"d","server":"sc1://h:1"}"#
    );
    assert_eq!(
        json(&GroupLine::new(&group(), Some(Role::Owner))),
        r#"{"group":"rust","id":4,"description":"","join_policy":"open","history_visible":false,"unlisted":false,"members":2,"role":"owner"}"#
    );
    assert!(!json(&GroupLine::new(&group(), None)).contains("role"));
    assert_eq!(json(&DoneLine::new("accept", "words")), r#"{"done":"accept"}"#);
    let mut contact = ContactInfo::new(bob(), ContactState::Friend);
    (contact.since, contact.presence) = (Timestamp(6), Some(PresenceState::Online));
    assert_eq!(
        json(&ContactLine::from(&contact)),
        r#"{"id":2,"name":"bob","display_name":"Bob","state":"friend","blocked":false,"note":"","since_ms":6,"presence":"online"}"#
    );
    let mut member = MemberInfo::new(bob(), Role::Admin, MemberState::Active);
    (member.delivered_seq, member.read_seq) = (Seq(8), Seq(7));
    assert_eq!(
        json(&MemberLine::from(&member)),
        r#"{"id":2,"name":"bob","display_name":"Bob","role":"admin","state":"active","muted_until_ms":0,"delivered_seq":8,"read_seq":7}"#
    );
    let mut device = DeviceInfo::new(DeviceId([3; 16]), "laptop");
    (device.created, device.last_login) = (Timestamp(1), Timestamp(2));
    (device.online, device.current) = (true, true);
    assert_eq!(
        json(&DeviceLine::from(&device)),
        r#"{"device":"03030303-0303-0303-0303-030303030303","name":"laptop","created_ms":1,"last_login_ms":2,"online":true,"current":true}"#
    );
}

#[test]
fn conversation_line_has_unread_counts() {
    let mut info = ConversationInfo::new(ConversationId(4), ConversationView::Group(group()));
    (info.last_seq, info.cursor, info.read_seq) = (Seq(8), Seq(8), Seq(6));
    (info.unread, info.unread_mentions, info.last_time) = (2, 1, Timestamp(9));
    let line = ConversationLine::from(&info);
    assert_eq!(
        json(&line),
        r#"{"conversation":{"group":"rust"},"id":4,"last_seq":8,"read_seq":6,"unread":2,"unread_mentions":1,"active":true,"last_time_ms":9}"#
    );
    assert!(line.text(Style::PLAIN).ends_with("2 unread, 1 for you"));
}

#[test]
fn foreign_text_has_no_line_breaks_and_no_runs_of_spaces() {
    let hostile = "hi\nbob                       7 friend\r\n\tx\u{2028}\u{1b}[2J";
    let mut user = UserInfo::new(UserId(3), hostile);
    user.display_name = hostile.replace("hi", "Hi");
    let mut contact = ContactInfo::new(user.clone(), ContactState::Pending);
    contact.note = hostile.into();
    let mut group = group();
    group.profile.name = hostile.into();
    group.profile.description = hostile.into();
    let view = ConversationView::Group(group.clone());
    let member = MemberInfo::new(user.clone(), Role::Admin, MemberState::Active);
    let sent = Appended::new(ConversationId(3), Seq(8), EventId([1; 16]), Timestamp(5));
    let texts = [
        DoneLine::new("join", hostile).text(Style::PLAIN),
        SentLine::new(
            ConversationName::Direct(hostile.into()),
            ClientMessageId([2; 16]),
            &sent,
        )
        .text(Style::PLAIN),
        UserLine::from(&user).text(Style::PLAIN),
        WhoLine::new(&user, "d".into(), hostile).text(Style::PLAIN),
        ContactLine::from(&contact).text(Style::PLAIN),
        ConversationLine::from(&ConversationInfo::new(ConversationId(4), view)).text(Style::PLAIN),
        GroupLine::new(&group, None).text(Style::PLAIN),
        MemberLine::from(&member).text(Style::PLAIN),
        DeviceLine::from(&DeviceInfo::new(DeviceId([3; 16]), hostile)).text(Style::PLAIN),
    ];
    for text in texts {
        assert!(!text.chars().any(|c| c.is_control() || c == '\u{2028}'), "{text:?}");
        assert!(!text.contains("bob   "), "{text:?}");
    }
}
