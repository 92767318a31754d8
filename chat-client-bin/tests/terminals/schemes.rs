//! TLS and plain text, spoken by the real programs.

use std::process::Command;

use super::support::{Person, Running, server_program};

const WRONG: &str = "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A server that listens with this scheme: the process, somebody who may come, and its fingerprint.
fn serve(scheme: &str, directory: &std::path::Path) -> (Running, Person, String) {
    let mut command = Command::new(server_program());
    command
        .args(["--listen", &format!("{scheme}://127.0.0.1:0"), "--data-dir"])
        .arg(directory.join("data"))
        .env("CHAT_LOG__LEVEL", "warn");
    let server = Running::start(command);
    let listening = server.until(&format!("listening {scheme} "));
    let address = listening.rsplit(' ').next().unwrap().parse().unwrap();
    let fingerprint = server.until("fingerprint ").split_off("fingerprint ".len());
    let person = Person {
        name: "alice".to_owned(),
        profile: directory.join("profile"),
        server: address,
    };
    (server, person, fingerprint)
}

#[test]
fn tls_with_the_servers_own_key_is_pinned_like_sc1() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, alice, fingerprint) = serve("tls", directory.path());
    let told = alice.fails(76, &["--tls", "--pin", WRONG, "register"]);
    assert!(told.contains(&fingerprint), "{told}");
    alice.ok(&["--tls", "--pin", &fingerprint, "register"]);
    assert!(alice.ok(&["--tls", "--pin", &fingerprint, "whoami"]).contains("alice"));
    alice.fails(76, &["--tls", "--pin", WRONG, "whoami"]);
    // Who speaks another protocol is not taken for a broken network, nor kept waiting.
    assert!(!alice.run(&["whoami"]).status.success());
    assert!(!alice.run(&["--plain", "whoami"]).status.success());
    assert!(
        alice.ok(&["--tls", "--pin", &fingerprint, "whoami"]).contains("alice"),
        "the server lives"
    );
}

#[test]
fn plain_text_is_spoken_only_when_both_want_it() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, alice, _) = serve("plain", directory.path());
    assert!(!alice.run(&["register"]).status.success());
    assert!(!alice.run(&["--tls", "register"]).status.success());
    alice.ok(&["--plain", "register"]);
    assert!(alice.ok(&["--plain", "whoami"]).contains("alice"));
}
