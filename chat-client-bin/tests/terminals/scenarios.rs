//! Tests of command sequences of several users: messages, groups, offline members, devices,
//! contacts and accounts.

use serde_json::json;

use super::support::{TestServer, eventually, texts};

#[test]
fn friends_chat_in_a_group_with_an_absent_member_and_a_second_device() {
    let server = TestServer::new();
    let [alice, bob, carol] = server.friends(["alice", "bob", "carol"]);

    assert_eq!(alice.ok(&["send", "bob", "hello", "bob"]), "1\n");
    let printed = bob.json(&["listen", "--count", "1", "--timeout", "20"]);
    assert_eq!(printed[0]["event"], "message");
    assert_eq!(printed[0]["conversation"], json!({"direct": "alice"}));
    assert_eq!(
        (&printed[0]["seq"], &printed[0]["from"], &printed[0]["text"]),
        (&json!(1), &json!("alice"), &json!("hello bob"))
    );
    let sent = bob.json(&["send", "alice", "你好"]);
    assert_eq!(
        (&sent[0]["event"], &sent[0]["seq"], &sent[0]["conversation"]),
        (&json!("sent"), &json!(2), &json!({"direct": "alice"}))
    );
    let printed = alice.json(&["listen", "--count", "1", "--timeout", "20"]);
    assert_eq!(texts(&printed), ["你好"], "her own message is not printed");

    alice.ok(&["group", "create", "rust 学习"]);
    bob.ok(&["group", "join", "RUST 学习"]);
    carol.ok(&["group", "join", "rust 学习"]);
    assert!(carol.missed().is_empty());

    // Carol is offline.
    let mut sent_texts = Vec::new();
    for round in 0..5 {
        for (device, name) in [(&alice, "alice"), (&bob, "bob")] {
            let text = format!("{name} {round}");
            device.ok(&["send", "--group", "rust 学习", &text]);
            sent_texts.push(text);
        }
    }
    let listened = carol.json(&["listen", "--count", "10", "--timeout", "20"]);
    assert_eq!(texts(&listened), sent_texts);
    assert!(
        listened
            .iter()
            .all(|event| event["conversation"] == json!({"group": "rust 学习"}))
    );
    let seqs: Vec<_> = listened.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
    assert!(carol.missed().is_empty(), "each message is delivered once");
    assert_eq!(carol.texts(&["--group", "rust 学习"]), sent_texts);

    // A second device of Bob has received nothing yet. It also receives what Bob sent from the
    // first device.
    let second = server.device("bob", "bob-2");
    second.ok(&["login"]);
    let mut everything = second.missed();
    everything.sort();
    let mut expected: Vec<_> = sent_texts
        .iter()
        .cloned()
        .chain(["hello bob".to_owned(), "你好".to_owned()])
        .collect();
    expected.sort();
    assert_eq!(everything, expected);
    assert_eq!(bob.json(&["devices"]).len(), 2);
}

#[test]
fn listener_prints_messages_edits_reactions_and_recalls() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let listener = bob.start(&["listen", "--json", "--count", "4"]);
    // The listener has to receive each event when it happens: in the history, the message has its
    // latest text.
    eventually("the listener is connected", || {
        alice.json(&["friend", "list"])[0]["presence"] == "online"
    });
    assert_eq!(alice.ok(&["send", "bob", "one"]), "1\n");
    assert!(listener.next_line().contains(r#""text":"one""#));
    alice.ok(&["edit", "bob", "1", "uno"]);
    assert!(listener.next_line().contains(r#""event":"edit""#));
    alice.ok(&["react", "bob", "1", "👍"]);
    assert!(listener.next_line().contains(r#""emoji":"👍""#));
    alice.ok(&["recall", "bob", "1"]);
    assert!(listener.next_line().contains(r#""event":"recall""#));
    assert_eq!(listener.finish().0, Some(0));
    assert_eq!(
        bob.json(&["history", "alice"])[0]["text"],
        "",
        "the text of a recalled message is empty"
    );
}

#[test]
fn send_keeps_the_order_of_input_lines() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let mut sender = alice.start(&["send", "bob", "-"]);
    let lines: Vec<_> = (0..50).map(|number| format!("line {number}")).collect();
    lines.iter().for_each(|line| sender.type_line(line));
    let (code, printed) = sender.finish();
    assert_eq!(code, Some(0));
    assert_eq!(printed, (1..=50).map(|seq| seq.to_string()).collect::<Vec<_>>());
    assert_eq!(bob.texts(&["alice"]), lines);
    assert_eq!(
        bob.json(&["history", "alice", "--after", "10", "--limit", "3"]).len(),
        3
    );
    assert_eq!(bob.json(&["history", "alice", "--limit", "5"])[0]["seq"], 46);
    let all = bob.json(&["listen", "--from-start", "--count", "50", "--timeout", "20"]);
    assert_eq!(texts(&all), lines);
}

#[test]
fn group_commands_cover_the_life_of_a_group() {
    let server = TestServer::new();
    let [alice, bob, carol] = server.friends(["alice", "bob", "carol"]);
    let created = alice.json(&[
        "group",
        "create",
        "club",
        "--join-policy",
        "approval",
        "--description",
        "about us",
    ]);
    assert_eq!(
        (&created[0]["group"], &created[0]["role"]),
        (&json!("club"), &json!("owner"))
    );
    assert_eq!(bob.json(&["search", "groups", "cl"])[0]["group"], "club");
    bob.ok(&["group", "join", "club", "--note", "let me in"]);
    assert!(
        alice
            .json(&["inbox"])
            .iter()
            .any(|event| event["event"] == "join_requested" && event["user"] == "bob")
    );
    alice.ok(&["group", "approve", "club", "bob"]);
    alice.ok(&["group", "invite", "club", "carol"]);
    assert!(
        carol
            .json(&["inbox"])
            .iter()
            .any(|event| event["event"] == "group_invited" && event["group"] == "club")
    );
    carol.ok(&["group", "join", "club"]);
    alice.ok(&["group", "role", "club", "bob", "admin"]);
    bob.ok(&["group", "mute", "club", "carol", "1h"]);
    carol.fails(1, &["send", "--group", "club", "may I?"]);
    bob.ok(&["group", "mute", "club", "carol", "0"]);
    carol.ok(&["send", "--group", "club", "thanks"]);
    bob.ok(&["group", "kick", "club", "carol"]);
    carol.fails(1, &["send", "--group", "club", "still here?"]);
    alice.ok(&["group", "rename", "club", "society"]);
    let members = alice.json(&["group", "members", "society"]);
    let active: Vec<_> = members
        .iter()
        .filter(|member| member["state"] == "active")
        .map(|member| &member["name"])
        .collect();
    assert_eq!(active, ["alice", "bob"]);
    alice.ok(&["group", "transfer", "society", "bob"]);
    alice.ok(&["group", "leave", "society"]);
    bob.ok(&["group", "delete", "society"]);
    assert!(bob.json(&["group", "list"]).is_empty());
}

#[test]
fn account_contact_and_device_commands_take_effect() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    assert_eq!(alice.json(&["whoami"])[0]["user"]["name"], "alice");
    alice.ok(&["account", "--display-name", "Alice L.", "--direct", "everyone"]);
    assert_eq!(bob.json(&["search", "users", "ali"])[0]["display_name"], "Alice L.");
    let friend = &bob.json(&["friend", "list"])[0];
    assert_eq!((&friend["name"], &friend["state"]), (&json!("alice"), &json!("friend")));
    bob.ok(&["friend", "block", "alice"]);
    alice.fails(1, &["send", "bob", "hello?"]);
    bob.ok(&["friend", "unblock", "alice"]);
    bob.ok(&["friend", "remove", "alice"]);
    alice.fails(1, &["send", "bob", "friends again?"]);
    bob.ok(&["send", "alice", "she lets everybody write"]);
    assert_eq!(
        alice
            .json(&["conversations"])
            .iter()
            .filter(|line| line["unread"] == 1)
            .count(),
        1
    );
    alice.ok(&["read", "bob"]);
    eventually("the conversation is marked as read", || {
        !alice.json(&["conversations"]).iter().any(|line| line["unread"] == 1)
    });

    let second = server.device("alice", "alice-2");
    second.ok(&["login"]);
    let devices = alice.json(&["devices"]);
    let other = devices.iter().find(|device| device["current"] == false).unwrap();
    alice.ok(&["devices", "revoke", other["device"].as_str().unwrap()]);
    assert_eq!(alice.json(&["devices"]).len(), 1);
    alice.ok(&["logout"]);
    let mut without_password = alice.command(&["whoami"]);
    assert_eq!(
        without_password
            .env_remove("CHAT_PASSWORD")
            .output()
            .unwrap()
            .status
            .code(),
        Some(77)
    );
    alice.ok(&["login"]);
    let without_password = alice.command(&["whoami"]).env_remove("CHAT_PASSWORD").output().unwrap();
    assert!(without_password.status.success(), "the session token is kept");
    let mut change = alice.command(&["passwd"]);
    assert!(
        change
            .env("CHAT_NEW_PASSWORD", "another fine password")
            .status()
            .unwrap()
            .success()
    );
    second.fails(77, &["login"]);
}

#[test]
fn note_of_a_friend_request_cannot_look_like_another_row() {
    let server = TestServer::new();
    let [alice, mallory] = ["alice", "mallory"].map(|name| server.register(name));
    let note = "hi\nbob                       7 friend, online";
    mallory.ok(&["friend", "add", "alice", "--note", note]);
    let list = alice.ok(&["friend", "list"]);
    assert_eq!(list.lines().count(), 1, "{list}");
    assert!(list.contains("hi bob 7 friend, online"), "{list}");
}

#[test]
fn send_takes_a_whole_input_or_file_and_a_literal_dash() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let mut whole = alice.start(&["send", "bob", "--stdin"]);
    whole.type_line("one");
    whole.type_line("");
    whole.type_line("three");
    assert_eq!(whole.finish(), (Some(0), vec!["1".to_owned()]));
    let path = server.path("message");
    std::fs::write(&path, "from a file\r\n").unwrap();
    alice.ok(&["send", "bob", "--file", path.to_str().unwrap()]);
    alice.ok(&["send", "bob", "--text", "-"]);
    assert_eq!(bob.texts(&["alice"]), ["one\n\nthree", "from a file", "-"]);
    alice.fails(2, &["send", "bob", "text", "--text", "text"]);
    alice.fails(2, &["send", "bob", "--file", "/nonexistent"]);
    std::fs::write(&path, "x".repeat(20_000)).unwrap();
    alice.fails(2, &["send", "bob", "--file", path.to_str().unwrap()]);
}

#[test]
fn listener_prints_what_is_new_and_exits() {
    let server = TestServer::new();
    let [alice, bob, carol] = server.friends(["alice", "bob", "carol"]);
    let new = |arguments: &[&str]| texts(&alice.json(&[&["listen", "--new"], arguments].concat()));
    assert!(new(&[]).is_empty());
    bob.ok(&["send", "alice", "from bob"]);
    carol.ok(&["send", "alice", "from carol"]);
    // The events of other conversations stay unseen.
    assert_eq!(new(&["bob"]), ["from bob"]);
    assert_eq!(new(&["bob"]), [""; 0]);
    assert_eq!(new(&[]), ["from carol"]);
    let mut recent = new(&["--since", "1h"]);
    recent.sort();
    assert_eq!(recent, ["from bob", "from carol"]);
    assert_eq!(new(&["carol", "--since", "1h"]), ["from carol"]);
    assert!(new(&["--since", "0"]).is_empty());
    // `--since` does not hide an older message that was not printed yet: it is printed once.
    bob.ok(&["send", "alice", "missed"]);
    assert_eq!(new(&["--since", "0"]), ["missed"]);
    assert!(new(&["--since", "0"]).is_empty());
}

#[test]
fn listener_of_a_group_follows_it_by_id() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    alice.ok(&["group", "create", "old"]);
    bob.ok(&["group", "join", "old"]);
    let listener = bob.start(&["listen", "--group", "old", "--json"]);
    alice.ok(&["send", "--group", "old", "one"]);
    listener.until("one");
    alice.ok(&["group", "rename", "old", "new"]);
    alice.ok(&["send", "--group", "new", "two"]);
    listener.until("two");
    listener.kill();
    // After the user left, the group still has events that were not printed.
    alice.ok(&["send", "--group", "new", "three"]);
    bob.ok(&["group", "leave", "new"]);
    let last = bob.json(&["listen", "--new", "--group", "new"]);
    assert!(texts(&last).contains(&"three".to_owned()), "{last:?}");
    bob.fails(1, &["listen", "--new", "--group", "unknown"]);
    bob.fails(1, &["listen", "--new", "nobody"]);
    // The first message creates the conversation with a known user.
    let listener = bob.start(&["listen", "alice", "--json"]);
    alice.ok(&["send", "bob", "first"]);
    listener.until("first");
}
