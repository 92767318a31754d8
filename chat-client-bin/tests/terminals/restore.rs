//! Tests with a server that is restored from a backup. After the restore, it gives new
//! conversations the ids that other conversations had between the backup and the restore.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::support::{DroppingProxy, TestDevice, TestServer, eventually, server_program};

/// A server with a backup from before the first message of alice to bob. Alice reaches it through
/// a proxy.
struct RestoreFixture {
    server: TestServer,
    proxy: DroppingProxy,
    alice: TestDevice,
    bob: TestDevice,
    eve: TestDevice,
}

impl RestoreFixture {
    fn new() -> Self {
        let server = TestServer::new();
        let [mut alice, bob, eve] = server.friends(["alice", "bob", "eve"]);
        let backup = Command::new(server_program())
            .args(["--data-dir"])
            .arg(server.path("data"))
            .arg("backup")
            .arg(server.path("backup.db"))
            .status()
            .unwrap();
        assert!(backup.success());
        let proxy = DroppingProxy::to(server.process.address());
        alice.server = proxy.address;
        Self {
            server,
            proxy,
            alice,
            bob,
            eve,
        }
    }

    /// Kills the server, runs `while_down`, and starts the server with the backup. Before alice
    /// gets an answer, eve sends her a message. Their conversation gets the id that the
    /// conversation of alice and bob had before.
    fn restore_backup(&mut self, while_down: impl FnOnce(&TestDevice)) {
        self.server.process.kill();
        while_down(&self.alice);
        let data = self.server.path("data");
        for file in ["chat.db-wal", "chat.db-shm"] {
            let _ = fs::remove_file(data.join(file));
        }
        fs::copy(self.server.path("backup.db"), data.join("chat.db")).unwrap();
        self.proxy.drop_server_bytes(true);
        self.server.process.restart().unwrap();
        self.eve.ok(&["send", "alice", "from eve"]);
        self.proxy.drop_server_bytes(false);
        self.proxy.cut();
    }

    /// Waits until bob has as many messages as `texts` in his conversation with alice. Asserts that
    /// they are `texts`, and that eve's conversation with alice has only eve's message.
    fn assert_bob_has(&self, texts: &[&str]) {
        eventually("the message reaches bob", || {
            self.bob.texts(&["alice"]).len() == texts.len()
        });
        assert_eq!(self.bob.texts(&["alice"]), texts);
        assert_eq!(self.eve.texts(&["alice"]), ["from eve"]);
    }
}

#[test]
fn line_typed_after_a_restore_reaches_the_user_of_the_prompt() {
    let mut fixture = RestoreFixture::new();
    let mut client = fixture.alice.start(&[]);
    client.type_line("/dm bob");
    client.until("no messages yet");
    client.type_line("before");
    client.until("✓ #1 bob");
    fixture.restore_backup(|_| ());
    client.until_error("their numbers may belong to other messages");
    client.type_line("/edit corrected"); // without a number: the last message of the user
    client.until_error("no message of yours is known");
    client.type_line("after");
    client.until("✓ #1 bob");
    assert_eq!(client.finish().0, Some(1), "the edit has failed");
    fixture.assert_bob_has(&["after"]);
}

/// `send -` has addressed the conversation by its id since its first message.
#[test]
fn lines_read_after_a_restore_are_sent_to_the_user_of_the_command() {
    let mut fixture = RestoreFixture::new();
    let mut client = fixture.alice.start(&["send", "bob", "-"]);
    client.type_line("before");
    client.until("1");
    fixture.restore_backup(|_| ());
    // The client notices the restore before the first line, or while it sends the line; both have
    // to work.
    for (number, text) in [("1", "after"), ("2", "last")] {
        client.type_line(text);
        client.until(number);
    }
    assert_eq!(client.finish().0, Some(0));
    fixture.assert_bob_has(&["after", "last"]);
}

#[test]
fn line_typed_before_a_restore_is_not_lost() {
    let mut fixture = RestoreFixture::new();
    let mut client = fixture.alice.start(&[]);
    client.type_line("/dm bob");
    client.until("no messages yet");
    client.type_line("before");
    client.until("✓ #1 bob");
    fixture.restore_backup(|_| {
        client.until_error("trying again in");
        client.type_line("kept");
        client.until("… sending to bob");
    });
    client.until("✓ #1 bob");
    // The id of the conversation belongs to that with eve now.
    client.type_line("next");
    client.until("✓ #2 bob");
    assert_eq!(client.finish().0, Some(0));
    fixture.assert_bob_has(&["kept", "next"]);
}

/// The running `listen` is the agent of the account: it takes the message of `send`, and delivers
/// it after the restore although `send` has given up.
#[test]
fn message_through_an_agent_reaches_its_addressee() {
    let mut fixture = RestoreFixture::new();
    let listener = fixture.alice.start(&["listen", "--json", "--own"]);
    fixture.alice.ok(&["send", "bob", "before"]);
    listener.until("before");
    fixture.restore_backup(|alice| {
        alice.fails(75, &["send", "bob", "kept", "--timeout", "1"]);
    });
    listener.until_error("store_replaced");
    listener.until("kept");
    fixture.alice.ok(&["send", "bob", "after"]);
    fixture.assert_bob_has(&["kept", "after"]);
}

#[test]
fn reply_to_a_message_from_before_the_restore_is_reported() {
    let mut fixture = RestoreFixture::new();
    fixture.alice.ok(&["send", "bob", "before"]);
    fixture.restore_backup(|alice| {
        alice.fails(75, &["send", "bob", "an answer", "--reply-to", "1", "--timeout", "1"]);
    });
    let run = fixture.alice.run(&["--json", "whoami"]);
    let errors = String::from_utf8(run.stderr).unwrap();
    let notices: Vec<Value> = errors.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [notice] = &notices[..] else { panic!("{errors}") };
    let notice = &notice["notice"];
    assert_eq!(notice["kind"], "outbox");
    assert_eq!(
        (&notice["outcome"], &notice["reason"], &notice["conversation"]["direct"]),
        (&"not_stored".into(), &"store_replaced".into(), &"bob".into())
    );
    let text = notice["text"].as_str().unwrap();
    assert!(
        text.contains("bob") && text.contains("restored from a backup"),
        "{text}"
    );
}
