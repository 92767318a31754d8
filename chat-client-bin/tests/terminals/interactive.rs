//! The interactive client without a terminal: a script supplies its lines.

use super::support::{World, eventually};

#[test]
fn interactive_client_sends_receives_and_runs_commands() {
    let world = World::new();
    let [alice, bob] = world.friends(["alice", "bob"]);
    bob.ok(&["send", "alice", "are you there?"]);
    let mut here = alice.start(&[]);
    here.until("New: bob (1)");
    here.type_line("/dm bob");
    here.until("-- new --");
    here.until("bob: are you there?");
    here.type_line("yes");
    here.until("✓ #2 bob");
    bob.ok(&["send", "alice", "good\u{1b}[31m"]);
    assert!(
        here.until("bob: good").ends_with("\\u{1b}[31m"),
        "control characters are escaped"
    );
    eventually("it is marked as read", || {
        alice
            .json(&["conversations"])
            .iter()
            .all(|one| one["unread"] == 0 || one["conversation"]["inbox"] == true)
    });

    here.type_line("/edit yes!");
    here.until("✓ #2 is changed");
    here.type_line("//not a command");
    here.until("✓ #5 bob");
    here.type_line("/hepl");
    here.until("is not a command");
    here.type_line("/create club");
    here.until("-- #club --");
    here.type_line("/invite bob");
    here.until("bob is invited");
    here.type_line("/list");
    here.until("#club");
    let (code, _) = here.finish();
    assert_eq!(code, Some(0));
    assert_eq!(
        bob.texts(&["alice"]),
        ["are you there?", "yes!", "good\u{1b}[31m", "/not a command"]
    );
}

#[test]
fn interactive_client_reports_a_reconnection() {
    let mut world = World::new();
    let [alice, bob] = world.friends(["alice", "bob"]);
    let mut here = alice.start(&[]);
    here.until("You are");
    here.type_line("/dm bob");
    here.until("no messages yet");
    world.server.kill_and_restart().unwrap();
    here.until("trying again in");
    here.until("reconnected to");
    here.type_line("still here");
    here.until("✓ #1 bob");
    assert_eq!(here.finish().0, Some(0));
    assert_eq!(bob.texts(&["alice"]), ["still here"]);
}

#[test]
fn script_lines_after_a_failed_open_are_not_sent() {
    let world = World::new();
    let [alice, bob] = world.friends(["alice", "bob"]);
    let mut here = alice.start(&[]);
    here.type_line("/dm bob");
    here.until("no messages yet");
    here.type_line("for bob");
    here.until("✓ #1 bob");
    here.type_line("/dm nobody");
    here.until("nobody was not found");
    here.type_line("for nobody");
    here.until("no conversation is open");
    here.type_line("/group nogroup");
    here.until("#nogroup was not found");
    here.type_line("/create club");
    here.until("-- #club --");
    here.type_line("/create club");
    here.until("taken");
    here.type_line("/group club");
    here.until("-- #club --");
    here.type_line("for the club");
    here.until("✓ #2 #club");
    assert_eq!(here.finish().0, Some(0));
    assert_eq!(bob.texts(&["alice"]), ["for bob"]);
}
