//! Tests of the interactive client without a terminal: a script supplies its input lines. One more
//! test is of the command `group leave` when the last member of a group runs it.

use super::pty::Terminal;
use super::support::{TestServer, eventually};

#[test]
fn interactive_client_sends_receives_and_runs_commands() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    bob.ok(&["send", "alice", "are you there?"]);
    let mut client = alice.start(&[]);
    client.until("New: bob (1)");
    client.type_line("/dm bob");
    client.until("-- new --");
    client.until("bob: are you there?");
    client.type_line("yes");
    client.until("✓ #2 bob");
    bob.ok(&["send", "alice", "good\u{1b}[31m"]);
    assert!(
        client.until("bob: good").ends_with("\\u{1b}[31m"),
        "control characters are escaped"
    );
    eventually("the conversation is marked as read", || {
        alice
            .json(&["conversations"])
            .iter()
            .all(|line| line["unread"] == 0 || line["conversation"]["inbox"] == true)
    });

    client.type_line("/edit yes!");
    client.until("✓ #2 is changed");
    client.type_line("//not a command");
    client.until("✓ #5 bob");
    client.type_line("/hepl");
    client.until_error("line 5: /hepl is not a command");
    client.type_line("/create club");
    client.until("-- #club --");
    client.type_line("/invite bob");
    client.until("bob is invited");
    client.type_line("/list");
    client.until("#club");
    let (code, _) = client.finish();
    assert_eq!(code, Some(1), "/hepl has failed");
    assert_eq!(
        bob.texts(&["alice"]),
        ["are you there?", "yes!", "good\u{1b}[31m", "/not a command"]
    );
}

#[test]
fn command_without_a_number_changes_the_last_message() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let mut client = alice.start(&[]);
    client.type_line("/dm bob");
    client.until("no messages yet");
    client.type_line("one");
    client.until("✓ #1 bob");
    for text in ["two", "three"] {
        client.type_line(&format!("/edit {text}"));
        client.until("✓ #1 is changed");
    }
    for emoji in ["👍", "🎉"] {
        client.type_line(&format!("/react {emoji}"));
        client.until("✓ reacted to #1");
    }
    assert_eq!(bob.texts(&["alice"]), ["three"]);

    // The last message of the user may be from another device.
    let phone = server.device("alice", "phone");
    phone.ok(&["login"]);
    phone.ok(&["send", "bob", "from the phone"]);
    client.until("from the phone");
    client.type_line("/recall");
    client.until("✓ #6 is recalled");
    assert_eq!(client.finish().0, Some(0));
}

#[test]
fn interactive_client_reports_a_reconnection() {
    let mut server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let mut client = alice.start(&[]);
    client.type_line("/dm bob");
    client.until("no messages yet");
    server.process.kill_and_restart().unwrap();
    client.until_error("trying again in");
    client.until_error("reconnected to");
    client.type_line("still here");
    client.until("✓ #1 bob");
    assert_eq!(client.finish().0, Some(0));
    assert_eq!(bob.texts(&["alice"]), ["still here"]);
}

#[test]
fn script_lines_after_a_failed_open_are_not_sent() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let mut client = alice.start(&[]);
    client.type_line("/dm bob");
    client.until("no messages yet");
    client.type_line("for bob");
    client.until("✓ #1 bob");
    client.type_line("/dm nobody");
    client.until_error("there is no user “nobody”");
    client.type_line("for nobody");
    client.until_error("line 4: no conversation is open");
    client.type_line("/group nogroup");
    client.until_error("you are in no group “nogroup”; /join nogroup joins a group");
    client.type_line("/create club");
    client.until("-- #club --");
    client.type_line("/create club");
    client.until_error("taken");
    client.type_line("/group club");
    client.until("-- #club --");
    client.type_line("for the club");
    client.until("✓ #2 #club");
    assert_eq!(client.finish().0, Some(1));
    assert_eq!(bob.texts(&["alice"]), ["for bob"]);
}

/// The open group is renamed, and another group takes its old name.
#[test]
fn renamed_group_stays_the_open_conversation() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    alice.ok(&["group", "create", "general"]);
    bob.ok(&["group", "join", "general"]);
    let mut client = bob.start(&[]);
    client.type_line("/group general");
    client.until("-- #general --");
    client.type_line("one");
    client.until("✓ #3 #general");
    alice.ok(&["group", "rename", "general", "archive"]);
    client.until("archive");
    client.type_line("two");
    client.until("✓ #5 #archive");
    alice.ok(&["group", "create", "general"]);
    bob.ok(&["group", "join", "general"]);
    client.type_line("three");
    client.until("✓ #6 #archive");
    client.type_line("/leave");
    client.until("you left #archive");
    assert_eq!(client.finish().0, Some(0));
    assert_eq!(alice.texts(&["-g", "archive"]), ["one", "two", "three"]);
    assert!(alice.texts(&["-g", "general"]).is_empty());
}

#[test]
fn script_whose_lines_fail_ends_with_code_1_and_no_standard_output() {
    let server = TestServer::new();
    let alice = server.register("alice");
    let mut client = alice.start(&[]);
    let lines = [
        "/dm nobody",
        "hello",
        "",
        "/group nosuch",
        "/kick bob",
        "/frobnicate",
        "/edit 0 x",
    ];
    lines.iter().for_each(|line| client.type_line(line));
    for (number, error) in [
        (1, "there is no user “nobody”"),
        (2, "no conversation is open"),
        (4, "you are in no group “nosuch”; /join nosuch joins a group"),
        (5, "no conversation is open"),
        (6, "/frobnicate is not a command"),
        (7, "/edit [SEQ] TEXT"),
    ] {
        client.until_error(&format!("chat-client: line {number}: {error}"));
    }
    client.close_input();
    client.until_error("chat-client: 6 lines failed");
    let (code, printed) = client.finish();
    assert_eq!(
        (code, printed),
        (Some(1), Vec::new()),
        "no greeting, and errors on standard error"
    );
}

/// The server refuses the message of a line after the client has queued it.
#[test]
fn refused_message_fails_its_line_of_the_script() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    bob.ok(&["friend", "block", "alice"]);
    let mut client = alice.start(&[]);
    client.type_line("/dm bob");
    client.until("bob");
    client.type_line("hello");
    client.until_error("line 2: not sent to bob: ");
    client.type_line("/list");
    assert_eq!(client.finish().0, Some(1));
}

#[test]
fn last_member_confirms_that_leaving_deletes_the_group() {
    let server = TestServer::new();
    let alice = server.register("alice");
    let mut client = alice.start(&[]);
    client.type_line("/create club");
    client.until("-- #club --");
    client.type_line("/leave");
    client.until("leaving deletes #club");
    // Another command in between withdraws the first `/leave`.
    client.type_line("/list");
    client.until_error("line 2: the group was not left: the command was not confirmed");
    client.type_line("/leave");
    client.until("leaving deletes #club");
    // So does a text.
    client.type_line("still here");
    client.until_error("line 4: the group was not left");
    client.type_line("/leave");
    client.until("leaving deletes #club");
    // So does the same command for another group.
    alice.ok(&["group", "create", "society"]);
    client.type_line("/leave society");
    client.until_error("line 6: the group was not left");
    client.until("leaving deletes #society");
    client.type_line("/leave");
    client.until_error("line 7: the group was not left");
    client.until("leaving deletes #club");
    client.type_line("/leave");
    client.until("you left #club");
    client.type_line("is anybody here?");
    client.until_error("no conversation is open");
    assert_eq!(client.finish().0, Some(1));
    let groups = alice.json(&["group", "list"]);
    assert_eq!(
        groups.iter().map(|group| &group["group"]).collect::<Vec<_>>(),
        ["society"]
    );
}

#[test]
fn script_that_does_not_confirm_at_its_end_fails() {
    let server = TestServer::new();
    let alice = server.register("alice");
    let mut client = alice.start(&[]);
    client.type_line("/create club");
    client.until("-- #club --");
    client.type_line("/leave");
    client.until("leaving deletes #club");
    client.close_input();
    client.until_error("line 2: the group was not left");
    assert_eq!(client.finish().0, Some(1));
    assert_eq!(alice.json(&["group", "list"]).len(), 1);
}

#[test]
fn last_member_leaves_by_a_command_with_yes_or_after_a_question() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    alice.ok(&["group", "create", "club"]);
    let errors = alice.fails(2, &["group", "leave", "club"]);
    assert!(errors.contains("leaving deletes the group; give --yes"), "{errors}");
    for (answer, code) in [("n", 1), ("", 1), ("y", 0)] {
        let mut client = Terminal::run(alice.command(&["group", "leave", "club"]));
        client.until("Leave it? [y/N] ");
        client.press(&format!("{answer}\r"));
        assert_eq!(client.exit_code(), Some(code), "{answer}");
        assert_eq!(alice.json(&["group", "list"]).len(), usize::from(code == 1));
    }
    alice.ok(&["group", "create", "society"]);
    bob.ok(&["group", "join", "society"]);
    bob.ok(&["group", "leave", "society"]);
    alice.ok(&["group", "leave", "society", "--yes"]);
    assert!(alice.json(&["group", "list"]).is_empty());
}

/// `/leave` also takes a group to which the user is only invited.
#[test]
fn leaving_declines_an_invitation() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    alice.ok(&["group", "create", "club", "--join-policy", "invite"]);
    alice.ok(&["group", "invite", "club", "bob"]);
    let mut client = bob.start(&[]);
    client.until("New: inbox (2");
    client.type_line("/leave club");
    client.until("no invitation to #club and no request to join it is left");
    client.type_line("/friends");
    // A script gets the rows of a list without a heading.
    let row = client.next_line();
    assert!(row.contains("alice"), "{row}");
    assert_eq!(client.finish().0, Some(0));
    bob.fails(1, &["group", "leave", "club"]);
}

#[test]
fn removed_member_is_no_longer_in_the_conversation() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    alice.ok(&["group", "create", "club"]);
    let mut client = bob.start(&[]);
    for removal in ["kick", "delete"] {
        client.type_line("/join club");
        client.until("-- #club --");
        let arguments = ["group", removal, "club", "bob"];
        alice.ok(if removal == "kick" {
            &arguments[..]
        } else {
            &arguments[..3]
        });
        client.until_error("you are no longer in the open group");
        client.type_line("for the club");
        client.until_error("no conversation is open");
    }
    assert_eq!(client.finish().0, Some(1));
}
