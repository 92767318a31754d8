//! Tests of typed lines: commands for the admins of a group, commands that change the account,
//! messages, and what the client shows of other members while a line is typed.

use chat_core::client::{Client, ClientEvent, ClientOptions, Credentials, MemoryStore, ServerAddress};
use chat_core::model::{Secret, UserName, UserRef};
use chat_core::secure::Trust;
use serde_json::{Value, json};

use super::pty::Terminal;
use super::support::{PASSWORD, TestServer, WAIT_TIMEOUT};

#[test]
fn admin_commands_apply_to_the_open_group() {
    let server = TestServer::new();
    let [alice, bob, carol] = server.friends(["alice", "bob", "carol"]);
    alice.ok(&["group", "create", "club", "--join-policy", "approval"]);
    for device in [&bob, &carol] {
        device.ok(&["group", "join", "club"]);
    }
    let mut client = alice.start(&[]);
    for (line, answer) in [
        ("/group club", "-- #club --"),
        ("/approve bob", "bob is a member now"),
        ("/reject carol", "the request of carol is rejected"),
        ("/role bob admin", "bob is an admin now"),
        ("/topic", "#club has no description"),
        ("/topic all about C", "the description of #club is changed"),
        ("/topic", "#club: all about C"),
        ("/rename society", "#club is #society now"),
        ("/me waves", "✓ "),
        ("/role bob member", "bob is no longer an admin"),
        ("/ban bob", "bob is banned"),
    ] {
        client.type_line(line);
        client.until(answer);
    }
    bob.fails(1, &["group", "join", "society"]);
    client.type_line("/unban bob");
    client.until("bob is no longer banned");
    bob.ok(&["group", "join", "society"]);
    client.type_line("/members");
    client.until("requested");
    client.type_line("/approve bob");
    client.until("bob is a member now");
    assert_eq!(client.finish().0, Some(0));
    assert_eq!(alice.texts(&["-g", "society"]), ["/me waves"]);
    assert!(alice.ok(&["history", "-g", "society"]).contains("alice: * alice waves"));
}

/// After a rename, another group may take the name of the open one.
#[test]
fn admin_commands_apply_to_the_open_group_after_another_took_its_name() {
    let server = TestServer::new();
    let [alice, bob, _carol] = server.friends(["alice", "bob", "carol"]);
    alice.ok(&["group", "create", "club"]);
    bob.ok(&["group", "join", "club"]);
    let mut client = alice.start(&[]);
    client.type_line("/group club");
    client.until("-- #club --");
    alice.ok(&["group", "rename", "club", "archive"]);
    alice.ok(&["group", "create", "club"]);
    bob.ok(&["group", "join", "club"]);
    for (line, answer) in [
        ("/mute bob 1h", "bob is muted for "),
        ("/invite carol", "carol is invited"),
        ("/kick bob", "bob is removed"),
    ] {
        client.type_line(line);
        client.until(answer);
    }
    assert_eq!(client.finish().0, Some(0));
    bob.ok(&["send", "--group", "club", "neither muted nor removed"]);
    bob.fails(1, &["send", "--group", "archive", "removed"]);
    let state = |group, name: &str| {
        let members = alice.json(&["group", "members", group]);
        let member = members.iter().find(|member| member["name"] == name);
        member.map(|member| member["state"].clone())
    };
    assert_eq!(state("archive", "carol"), Some("invited".into()));
    assert_eq!(state("club", "carol"), None);
}

#[test]
fn owner_confirms_that_the_group_gets_another_owner() {
    let server = TestServer::new();
    let [alice, bob, carol] = server.friends(["alice", "bob", "carol"]);
    alice.ok(&["group", "create", "club"]);
    for device in [&bob, &carol] {
        device.ok(&["group", "join", "club"]);
    }
    let mut client = alice.start(&[]);
    client.type_line("/group club");
    client.until("-- #club --");
    for user in ["bob", "carol", "bob"] {
        client.type_line(&format!("/transfer {user}"));
        client.until(&format!("{user} becomes the owner of #club; type the command again"));
    }
    // Another command withdraws the last `/transfer`, so that the next one does not confirm it.
    client.type_line("/list");
    client.type_line("/transfer bob");
    client.until("type the command again");
    client.type_line("/transfer bob");
    client.until("bob is the owner of #club now");
    client.type_line("/transfer carol");
    client.until_error("line 8: ");
    assert_eq!(client.finish().0, Some(1));
    assert_eq!(bob.json(&["group", "list"])[0]["role"], "owner");
}

#[test]
fn display_name_is_changed_by_a_typed_command() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let mut client = alice.start(&[]);
    client.type_line("/name Alice L.");
    client.until("your display name is Alice L. now");
    client.type_line("/passwd");
    client.until_error("line 2: passwords are typed at a terminal only");
    assert_eq!(client.finish().0, Some(1));
    assert_eq!(bob.json(&["search", "users", "ali"])[0]["display_name"], "Alice L.");
}

#[test]
fn password_is_typed_unseen_in_the_line_editor() {
    let server = TestServer::new();
    let [alice, _bob] = server.friends(["alice", "bob"]);
    let mut client = Terminal::with_bob(&alice);
    client.press("/passwd\r");
    client.until("Current password: ");
    client.press("\u{3}"); // Ctrl-C
    client.until("the password is not changed");
    client.until("bob> ");
    client.press("/passwd\r");
    let new = "another fine password";
    let mut shown = String::new();
    for (prompt, typed) in [
        ("Current password: ", PASSWORD),
        ("New password: ", new),
        ("New password, again: ", new),
    ] {
        shown.push_str(&client.until(prompt));
        client.press(&format!("{typed}\r"));
    }
    shown.push_str(&client.until("password changed"));
    assert!(!shown.contains("horse") && !shown.contains("fine"), "{shown:?}");
    // The arrow keys do not bring the password back.
    client.until("bob> ");
    client.press("\u{1b}[A");
    client.until("/passwd");
    client.press("\u{15}"); // Ctrl-U
    client.quit();
    let phone = server.device("alice", "phone");
    phone.fails(77, &["login"]);
    let mut login = phone.command(&["login"]);
    assert!(login.env("CHAT_PASSWORD", new).status().unwrap().success());
}

/// The typed line is cleared, and the line of the stored message takes its place.
#[test]
fn typed_message_becomes_a_line_of_the_conversation() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let mut client = Terminal::in_empty_conversation_with_bob(&alice);
    client.press("hello\r");
    client.until("\u{1b}[1A\r\u{1b}[J");
    client.until("#1 alice: hello");
    client.until("bob> ");
    client.press(&format!("{}\r", "x".repeat(250)));
    client.until("\u{1b}[2A\r\u{1b}[J");
    client.until("#2 alice: xxx");
    client.press("/reply 1 and you?\r");
    client.until("#3 alice: (to #1) and you?");
    client.press("/me waves\r");
    client.until("#4 alice: * alice waves");
    client.press("/create club\r");
    client.until("#club> ");
    client.press("/dm bob from elsewhere\r");
    client.until("[bob] #5 alice: from elsewhere");
    bob.ok(&["friend", "block", "alice"]);
    client.press("/dm bob\r");
    client.until("bob> ");
    client.press("are you there?\r");
    client.until("! not sent to bob: ");
    client.until("“are you there?”");
    client.quit();
    assert_eq!(bob.texts(&["alice"]).len(), 5);
}

#[test]
fn text_in_a_group_mentions_the_members_whom_it_names() {
    let server = TestServer::new();
    let [alice, bob, carol] = server.friends(["alice", "bob", "carol"]);
    alice.ok(&["group", "create", "club"]);
    bob.ok(&["group", "join", "club"]);
    let mut client = alice.start(&[]);
    client.type_line("/group club");
    client.until("-- #club --");
    client.type_line("hi @Bob, and @carol");
    client.until("✓ #3 #club");
    carol.ok(&["group", "join", "club"]);
    client.until("carol joined");
    client.type_line("/reply 3 welcome @carol");
    client.until("✓ #5 #club");
    carol.ok(&["group", "leave", "club"]);
    client.until("carol left");
    client.type_line("bye @carol");
    client.until("✓ #7 #club");
    client.type_line("/react 3 :tada:");
    client.until("✓ reacted to #3");
    client.type_line("/react 3 :nosuch:");
    client.until_error(":nosuch: is not the name of an emoji");
    assert_eq!(client.finish().0, Some(1));
    let events = bob.json(&["history", "-g", "club", "--after", "0"]);
    let event = |seq: u64| events.iter().find(|event| event["seq"] == seq).unwrap();
    let mentions = [3, 5, 7].map(|seq| event(seq)["mentions"].clone());
    assert_eq!(mentions, [json!(["bob"]), json!(["carol"]), Value::Null]);
    assert_eq!(event(8)["emoji"], "🎉");
    let conversations = bob.json(&["conversations"]);
    let club = conversations
        .iter()
        .find(|line| line["conversation"] == json!({"group": "club"}));
    assert_eq!(club.unwrap()["unread_mentions"], 1);
}

#[tokio::test]
async fn typed_text_is_announced_to_the_other_member() {
    let server = TestServer::new();
    let [alice, _bob] = server.friends(["alice", "bob"]);
    alice.ok(&["send", "bob", "hello"]);
    let address: ServerAddress = format!("sc1://{}", alice.server).parse().unwrap();
    let credentials = Credentials::Password {
        account: UserRef::Name(UserName::parse("bob").unwrap()),
        secret: Secret::new(PASSWORD),
        fresh: true,
    };
    let mut options = ClientOptions::new([address], credentials);
    options.trust = Trust::AcceptFirst;
    let bob = Client::connect(options, MemoryStore::new()).await.unwrap();
    let mut events = bob.events().unwrap();
    let mut client = Terminal::with_bob(&alice);
    client.until("alice: hello");
    client.press("are you");
    let typing = async {
        loop {
            if let ClientEvent::Typing { stopped, .. } = events.next().await.unwrap().event {
                break stopped;
            }
        }
    };
    assert!(
        !tokio::time::timeout(WAIT_TIMEOUT, typing).await.unwrap(),
        "she has not stopped"
    );
    client.press(" there?\r");
    client.until("#2 alice: are you there?");
    client.quit();
}

#[test]
fn member_who_types_is_shown_after_the_prompt_until_the_message_arrives() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    alice.ok(&["send", "bob", "hello"]);
    let mut reader = Terminal::start(&bob, "xterm");
    reader.until("> ");
    reader.press("/dm alice\r");
    reader.until("alice: hello");
    reader.until("alice> ");
    reader.press("half a ");
    reader.until("half a ");
    let mut writer = Terminal::with_bob(&alice);
    writer.until("alice: hello");
    writer.press("are you");
    // The cursor stays at the end of the typed line.
    reader.until("alice> half a \u{1b}7  (alice is typing)\u{1b}8");
    reader.press("line");
    reader.until("alice> half a line\u{1b}7  (alice is typing)\u{1b}8");
    writer.press(" there?\r");
    reader.until("#2 alice: are you there?");
    let after = reader.until("alice> half a line");
    assert!(!after.contains("typing"), "{after:?}");
    reader.press("\u{15}/list\r");
    let shown = reader.until("inbox");
    let last = shown.rsplit("alice> ").next().unwrap();
    assert!(!last.contains("typing"), "{shown:?}");
    writer.quit();
    reader.quit();
}

#[test]
fn reader_of_the_last_message_is_named_after_the_prompt_until_a_reply() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    alice.ok(&["send", "bob", "hello"]);
    let mut writer = Terminal::with_bob(&alice);
    writer.until("alice: hello");
    writer.press("who reads this?\r");
    writer.until("#2 alice: who reads this?");
    let mut reader = Terminal::start(&bob, "xterm");
    reader.until("> ");
    reader.press("/dm alice\r");
    reader.until("#2 alice: who reads this?");
    writer.until("bob> \u{1b}7  (read by bob)\u{1b}8");
    reader.until("alice> ");
    reader.press("me\r");
    writer.until("#3 bob: me");
    let after = writer.until("bob> ");
    assert!(!after.contains("read by"), "{after:?}");
    writer.quit();
    reader.quit();
}

#[test]
fn line_that_was_typed_before_the_question_does_not_confirm_it() {
    let server = TestServer::new();
    let alice = server.register("alice");
    alice.ok(&["group", "create", "solo"]);
    let mut client = Terminal::start(&alice, "xterm");
    client.until("> ");
    client.press("/group solo\r");
    client.until("#solo> ");
    // Both lines arrive at once, so that the user has not read the question.
    client.press("/leave\r/leave\r");
    for _ in 0..2 {
        client.until("you are the last member: leaving deletes #solo");
    }
    client.until("#solo> ");
    assert_eq!(alice.json(&["group", "list"]).len(), 1);
    client.quit();
}

#[test]
fn prompt_loses_the_name_of_a_group_that_was_left() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    alice.ok(&["group", "create", "club"]);
    let mut client = Terminal::start(&bob, "xterm");
    client.until("> ");
    client.press("/join club\r");
    client.until("#club> ");
    client.press("my text");
    client.until("my text");
    alice.ok(&["group", "kick", "club", "bob"]);
    client.until("you are no longer in the open group");
    // Blanks as wide as the name of the group replace it, so that the typed text does not move.
    client.until("     > my text");
    client.press("\r");
    client.until("not sent: no conversation is open");
    client.until("“my text”");
    client.press("/join club\r");
    client.until("#club> ");
    client.press("/leave\r");
    client.until("you left #club");
    let next = client.until("> ");
    assert!(!next.contains("#club"), "{next:?}");
    client.quit();
}

#[test]
fn admin_mentions_all_members_by_a_typed_text() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    alice.ok(&["group", "create", "club"]);
    bob.ok(&["group", "join", "club"]);
    for (device, seq) in [(&alice, 3), (&bob, 4)] {
        let mut client = device.start(&[]);
        client.type_line("/group club");
        client.until("-- #club --");
        client.type_line("lunch, @all?");
        client.until(&format!("✓ #{seq} #club"));
        assert_eq!(client.finish().0, Some(0));
    }
    let events = bob.json(&["history", "-g", "club", "--after", "2"]);
    let mentioned: Vec<_> = events.iter().map(|event| event["mention_all"].clone()).collect();
    assert_eq!(mentioned, [json!(true), Value::Null], "bob is no admin");
}

#[test]
fn second_reaction_is_printed_with_the_number_of_reactions_by_emoji() {
    let server = TestServer::new();
    let [alice, bob, carol] = server.friends(["alice", "bob", "carol"]);
    alice.ok(&["group", "create", "club"]);
    for device in [&bob, &carol] {
        device.ok(&["group", "join", "club"]);
    }
    alice.ok(&["send", "-g", "club", "shall we?"]);
    bob.ok(&["react", "-g", "club", "4", "👍"]);
    let mut client = alice.start(&[]);
    client.type_line("/group club");
    client.until("bob reacted to #4 with 👍");
    carol.ok(&["react", "-g", "club", "4", "👍"]);
    client.until("carol reacted to #4 with 👍 (👍 2)");
    assert_eq!(client.finish().0, Some(0));
}
