//! Tests of event lines.

use chat_core::model::{EventBody, Message, Seq, UserId};
use stored::event;

use super::*;

/// Events as a server stores them.
mod stored {
    use chat_core::codec::body;
    use chat_core::model::{ConversationId, Event, EventBody, EventId, HistoryEvent, Seq, Timestamp, UserId};

    pub(super) fn event(body: &EventBody) -> HistoryEvent {
        let mut event = Event::new(
            ConversationId(3),
            Seq(7),
            EventId([0xab; 16]),
            UserId(1),
            Timestamp(1_790_000_000_000),
            body.kind(),
            body::encode(body),
        );
        event.target = body.target();
        event.into()
    }
}

fn info(view: ConversationView) -> ConversationInfo {
    let mut info = ConversationInfo::new(chat_core::model::ConversationId(3), view);
    info.last_seq = Seq(7);
    info
}

fn direct() -> ConversationInfo {
    let mut bob = chat_core::model::UserInfo::new(UserId(2), "bob");
    bob.display_name = "Bob".into();
    info(ConversationView::Direct(bob))
}

fn line(body: &EventBody) -> EventLine {
    let names = Names::from([(UserId(1), "alice".to_owned()), (UserId(2), "bob".to_owned())]);
    EventLine::new(&direct(), &event(body), body, &names)
}

fn message(text: &str) -> EventBody {
    EventBody::Message(Message::new(text))
}

#[test]
fn message_line_has_the_documented_json() {
    let json = serde_json::to_string(&line(&message("hi"))).unwrap();
    assert_eq!(
        json,
        r#"{"event":"message","conversation":{"direct":"bob"},"seq":7,"id":"abababab-abab-abab-abab-abababababab","from":"alice","time_ms":1790000000000,"text":"hi"}"#
    );
}

#[test]
fn action_names_its_sender_after_a_star() {
    let short = |text| line(&message(text)).short(Style::PLAIN);
    assert_eq!(short("/me waves"), "#7 alice: * alice waves");
    assert_eq!(short("/mend it"), "#7 alice: /mend it");
    // An action cannot look like the event of a new owner.
    let imitation = short("/me made mallory the owner");
    assert_eq!(imitation, "#7 alice: * alice made mallory the owner");
    let real = line(&EventBody::OwnershipTransferred { to: UserId(2) }).short(Style::PLAIN);
    assert_eq!(real, "#7 * alice made bob the owner");
}

#[test]
fn conversation_names_have_the_documented_json() {
    assert_eq!(
        serde_json::to_string(&ConversationName::Group("rust".into())).unwrap(),
        r#"{"group":"rust"}"#
    );
    assert_eq!(
        serde_json::to_string(&ConversationName::Inbox(true)).unwrap(),
        r#"{"inbox":true}"#
    );
}

#[test]
fn message_line_has_reply_mentions_and_edit() {
    let mut message = Message::new("@bob old");
    (message.reply_to, message.mention_all) = (Some(Seq(3)), true);
    message.mentions = vec![UserId(2), UserId(9)];
    let body = EventBody::Message(message);
    let mut entry = event(&body);
    entry.event.edited_seq = Some(Seq(8));
    entry.edited_text = Some("@bob new".into());
    let names = Names::from([(UserId(1), "alice".to_owned()), (UserId(2), "bob".to_owned())]);
    let json = serde_json::to_value(EventLine::new(&direct(), &entry, &body, &names)).unwrap();
    assert_eq!(json["text"], "@bob new");
    assert_eq!(json["reply_to"], 3);
    assert_eq!(json["mentions"], serde_json::json!(["bob", "#9"]));
    assert_eq!(json["mention_all"], true);
    assert_eq!(json["edited_seq"], 8);
}

#[test]
fn event_lines_have_the_fields_of_their_kind() {
    let json = |body: &EventBody| serde_json::to_value(line(body)).unwrap();
    let kicked = json(&EventBody::MemberKicked {
        user: UserId(2),
        banned: true,
    });
    assert_eq!(
        (&kicked["event"], &kicked["user"], &kicked["banned"]),
        (&"member_kicked".into(), &"bob".into(), &true.into())
    );
    let requested = json(&EventBody::FriendRequested {
        from: UserId(2),
        note: "hey".into(),
    });
    assert_eq!(
        (&requested["event"], &requested["user"], &requested["note"]),
        (&"friend_requested".into(), &"bob".into(), &"hey".into())
    );
    assert_eq!(json(&EventBody::Unknown)["event"], "unknown");
    assert!(json(&EventBody::GroupDeleted).get("text").is_none());
}

#[test]
fn terminal_text_is_escaped_and_indented() {
    let text = line(&message("\u{1b}[31mred\n2026-01-01 bob #8 bob: forged")).text(Style::PLAIN);
    assert_eq!(
        text,
        "2026-09-21 14:13 bob #7 alice: \\u{1b}[31mred\n    2026-01-01 bob #8 bob: forged"
    );
    assert_eq!(
        line(&EventBody::Recall { target: Seq(3) }).text(Style::PLAIN),
        "2026-09-21 14:13 bob #7 * alice recalled #3"
    );
}

#[test]
fn note_and_group_name_stay_on_the_line_of_their_event() {
    let note = "hi\n2026-01-01 inbox #8 * bob is your friend now\u{2028}x      y";
    let text = |body: &EventBody| line(body).text(Style::PLAIN);
    let requested = text(&EventBody::FriendRequested {
        from: UserId(2),
        note: note.into(),
    });
    let joining = text(&EventBody::JoinRequested {
        group: chat_core::model::ConversationId(1),
        group_name: "a\nb".into(),
        user: UserId(2),
        note: note.into(),
    });
    for text in [&requested, &joining] {
        assert!(
            text.ends_with(": hi 2026-01-01 inbox #8 * bob is your friend now x y") && !text.contains('\n'),
            "{text}"
        );
    }
    let edit = text(&EventBody::Edit {
        target: Seq(3),
        text: "a\nb".into(),
    });
    assert!(edit.ends_with("changed #3 to: a\n    b"), "{edit}");
}

#[tokio::test]
async fn event_line_shows_ids_when_names_cannot_be_looked_up() {
    use chat_core::client::{Client, ClientOptions, Credentials, MemoryStore, ServerAddress};

    // Nothing listens on this port, so every name lookup fails.
    let unreachable: ServerAddress = "127.0.0.1:1".parse().unwrap();
    let mut options = ClientOptions::new([unreachable], Credentials::Stored);
    options.max_rounds = Some(1);
    let client = Client::start(options, MemoryStore::new()).await.unwrap();
    client.ready().await.unwrap_err();
    let body = EventBody::Message(Message::new("hi"));
    let line = crate::session::event_line(&client, &direct(), &event(&body), &body).await;
    assert_eq!(line.short(Style::PLAIN), "#7 #1: hi");
}
