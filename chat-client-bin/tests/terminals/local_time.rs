//! Tests of the time zone of printed times.

use std::path::Path;

use chat_core::codec::{Answer, RequestKind, body};
use chat_core::model::{
    Command, ConversationId, ConversationInfo, ConversationPage, ConversationView, DeviceId, DeviceInfo, Event,
    EventBody, EventId, HistoryPage, Message, Outcome, Seq, Timestamp, UserId, UserInfo,
};

use super::scripted_server::{Reply, accept, serve};
use super::support::parse;

/// 2026-09-21 14:13:20 UTC.
const TIME: Timestamp = Timestamp(1_790_000_000_000);

fn conversation() -> ConversationInfo {
    let view = ConversationView::Direct(UserInfo::new(UserId(2), "bob"));
    let mut info = ConversationInfo::new(ConversationId(3), view);
    (info.last_seq, info.last_time) = (Seq(1), TIME);
    info
}

fn reply_to(kind: &RequestKind) -> Reply {
    let RequestKind::Command(command) = kind else {
        return Some(accept(kind));
    };
    let outcome = match command {
        Command::GetConversation(_) => Outcome::Conversation(Box::new(conversation())),
        Command::ListConversations(_) => Outcome::Conversations(ConversationPage::new(vec![conversation()])),
        Command::GetUsers(_) => Outcome::Users(vec![UserInfo::new(UserId(2), "bob")]),
        Command::ListDevices => {
            let mut device = DeviceInfo::new(DeviceId([3; 16]), "laptop");
            device.last_login = TIME;
            Outcome::Devices(vec![device])
        }
        Command::ReadHistory { .. } => {
            let body = EventBody::Message(Message::new("hello"));
            let (id, data) = (EventId([4; 16]), body::encode(&body));
            let event = Event::new(ConversationId(3), Seq(1), id, UserId(2), TIME, body.kind(), data);
            Outcome::History(HistoryPage::new(ConversationId(3), vec![event.into()]))
        }
        _ => Outcome::Done,
    };
    Some(Ok(Answer::Outcome(outcome)))
}

#[test]
fn printed_times_are_local_and_those_in_json_are_not() {
    let zone_file = Path::new("/usr/share/zoneinfo/Asia/Kolkata");
    assert!(zone_file.exists(), "the time zones are missing; apt-get install tzdata");
    let directory = tempfile::tempdir().unwrap();
    let alice = serve(directory.path(), reply_to);
    alice.ok(&["--plain", "login"]);
    let run = |zone: &str, arguments: &[&str]| {
        let output = alice.command(arguments).env("TZ", zone).output().unwrap();
        assert!(output.status.success(), "{zone} {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let zones = [
        ("Asia/Kolkata", "2026-09-21 19:43"),
        (":Asia/Kolkata", "2026-09-21 19:43"),
        ("IST-5:30", "2026-09-21 19:43"),
        ("UTC0", "2026-09-21 14:13"),
        // The date is local too, and summer time is respected.
        ("<+14>-14", "2026-09-22 04:13"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "2026-09-21 16:13"),
    ];
    let commands = [
        (&["history", "bob"][..], "time_ms"),
        (&["conversations"], "last_time_ms"),
        (&["devices"], "last_login_ms"),
    ];
    for (command, field) in commands {
        for (zone, time) in zones {
            let printed = run(zone, &[&["--plain"], command].concat());
            assert!(printed.contains(time), "{zone} {command:?}: {printed}");
            let lines = parse(&run(zone, &[&["--plain", "--json"], command].concat()));
            assert_eq!(lines.len(), 1, "{command:?}");
            assert_eq!(lines[0][field], TIME.0, "{zone} {command:?}");
        }
    }
}
