//! Processes that die at the worst moment.

use std::process::Stdio;

use chat_core::testkit::{Reach, signal};

use super::support::{Person, Running, Wire, World, eventually, texts};

#[test]
fn message_is_stored_once_when_server_dies_before_ack() {
    let mut world = World::new();
    let [alice, bob] = world.friends(["alice", "bob"]);
    let wire = Wire::to(world.server.address());
    let mut far = alice.clone();
    far.server = wire.address;

    let mut sender = far.start(&["send", "bob", "-", "--timeout", "60"]);
    sender.type_line("before");
    assert_eq!(sender.next_line(), "1");
    wire.swallow_answers(true);
    sender.type_line("in between");
    eventually("it is committed", || bob.texts(&["alice"]).len() == 2);
    world.server.kill_and_restart().unwrap();
    wire.swallow_answers(false);
    wire.cut();
    assert_eq!(sender.next_line(), "2", "the same place, not another one");
    sender.type_line("after");
    assert_eq!(sender.next_line(), "3");
    assert_eq!(sender.finish().0, Some(0));
    assert_eq!(bob.texts(&["alice"]), ["before", "in between", "after"]);
}

#[test]
fn message_is_stored_once_when_client_dies_before_ack() {
    let world = World::new();
    let [alice, bob] = world.friends(["alice", "bob"]);
    let wire = Wire::to(world.server.address());
    let mut far = alice.clone();
    far.server = wire.address;

    let mut sender = far.start(&["send", "bob", "-", "--timeout", "60"]);
    sender.type_line("before");
    assert_eq!(sender.next_line(), "1");
    wire.swallow_answers(true);
    sender.type_line("unacknowledged");
    eventually("it is committed", || bob.texts(&["alice"]).len() == 2);
    sender.kill();
    wire.swallow_answers(false);
    alice.ok(&["send", "bob", "after"]);
    assert_eq!(bob.texts(&["alice"]), ["before", "unacknowledged", "after"]);
}

#[test]
fn listener_receives_unprinted_events_again() {
    let world = World::new();
    let [alice, bob] = world.friends(["alice", "bob"]);
    alice.ok(&["send", "bob", "one"]);
    alice.ok(&["send", "bob", "two"]);
    // Nobody reads its output: the pipe is closed, so the line cannot be written.
    let mut deaf = bob.command(&["listen", "--count", "2", "--timeout", "20"]);
    let mut child = deaf.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(!child.wait().unwrap().success());
    assert_eq!(
        texts(&bob.json(&["listen", "--count", "2", "--timeout", "20"])),
        ["one", "two"]
    );
}

/// One that stands still; what is sent through it is kept.
fn frozen_listener(person: &Person) -> Running {
    let listener = person.start(&["listen", "--json", "--own"]);
    person.ok(&["send", "bob", "before"]);
    listener.until("before");
    signal(listener.id(), "STOP", Reach::Process).unwrap();
    let errors = person.fails(75, &["send", "bob", "kept", "--timeout", "1"]);
    assert!(errors.contains("1 message is kept in the outbox"), "{errors}");
    listener
}

#[test]
fn outbox_survives_death_of_the_agent() {
    let world = World::new();
    let [alice, bob] = world.friends(["alice", "bob"]);
    let listener = frozen_listener(&alice);
    listener.kill();
    // Any command takes it along.
    alice.ok(&["devices"]);
    assert_eq!(bob.texts(&["alice"]), ["before", "kept"]);
    assert_eq!(
        std::fs::read_dir(alice.profile.join("accounts/alice/spool"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn message_is_stored_once_when_a_stopped_agent_continues() {
    let world = World::new();
    let [alice, bob] = world.friends(["alice", "bob"]);
    let listener = frozen_listener(&alice);
    signal(listener.id(), "CONT", Reach::Process).unwrap();
    alice.ok(&["send", "bob", "after"]);
    listener.until("after");
    let texts = bob.texts(&["alice"]);
    assert_eq!((texts.len(), &texts[0]), (3, &"before".to_owned()), "{texts:?}");
    assert_eq!(texts.iter().filter(|text| *text == "kept").count(), 1, "{texts:?}");
}

#[test]
fn send_survives_repeated_server_kills() {
    let mut world = World::new();
    let [alice, bob] = world.friends(["alice", "bob"]);
    let mut sender = alice.start(&["send", "bob", "-", "--timeout", "60"]);
    let mut said = Vec::new();
    for round in 0..3 {
        for number in 0..40 {
            let text = format!("{round}.{number}");
            sender.type_line(&text);
            said.push(text);
        }
        sender.next_line();
        world.server.kill_and_restart().unwrap();
    }
    assert_eq!(sender.finish().0, Some(0));
    assert_eq!(bob.texts(&["alice"]), said);
    let seqs: Vec<_> = bob
        .json(&["history", "alice", "--after", "0"])
        .iter()
        .map(|event| event["seq"].as_u64())
        .collect();
    assert_eq!(seqs, (1..=120).map(Some).collect::<Vec<_>>());
}
