//! Tests of the schemes `tls://` and `plain://` with the client and server binaries.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::support::{CLIENT, RunningProcess, TestDevice, server_program};

const WRONG_FINGERPRINT: &str = "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Starts a server with this scheme. Returns the server, a device of alice that uses it, and the
/// fingerprint of the server's key. Does not register alice.
pub(super) fn serve(scheme: &str, directory: &Path) -> (RunningProcess, TestDevice, String) {
    serve_at(scheme, 0, directory)
}

/// Starts a server like [`serve`], at this port; 0 chooses a free one.
pub(super) fn serve_at(scheme: &str, port: u16, directory: &Path) -> (RunningProcess, TestDevice, String) {
    let mut command = Command::new(server_program());
    command
        .args(["--listen", &format!("{scheme}://127.0.0.1:{port}"), "--data-dir"])
        .arg(directory.join("data"))
        .env("CHAT_LOG__LEVEL", "warn");
    let server = RunningProcess::start(command);
    let listening = server.until(&format!("listening {scheme} "));
    let address = listening.rsplit(' ').next().unwrap().parse().unwrap();
    let fingerprint = server.until("fingerprint ").split_off("fingerprint ".len());
    let device = TestDevice {
        name: "alice".to_owned(),
        profile: directory.join("profile"),
        server: address,
    };
    (server, device, fingerprint)
}

#[test]
fn tls_with_identity_key_is_pinned_like_sc1() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, alice, fingerprint) = serve("tls", directory.path());
    let error = alice.fails(76, &["--tls", "--pin", WRONG_FINGERPRINT, "register"]);
    assert!(
        error.contains(&fingerprint) && error.contains("given with --pin"),
        "{error}"
    );
    assert!(!error.contains("known_hosts"), "no key is pinned yet: {error}");
    alice.ok(&["--tls", "--pin", &fingerprint, "register"]);
    let known = std::fs::read_to_string(alice.profile.join("known_hosts")).unwrap();
    assert!(known.contains(&fingerprint), "the given key is pinned: {known}");
    assert!(alice.ok(&["--tls", "--pin", &fingerprint, "whoami"]).contains("alice"));
    alice.fails(76, &["--tls", "--pin", WRONG_FINGERPRINT, "whoami"]);
    assert!(
        alice.ok(&["--tls", "--pin", &fingerprint, "whoami"]).contains("alice"),
        "the server still runs"
    );
}

#[test]
fn plain_server_is_reached_with_the_plain_option_only() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, alice, _) = serve("plain", directory.path());
    assert!(!alice.run(&["register"]).status.success());
    assert!(!alice.run(&["--tls", "register"]).status.success());
    alice.ok(&["--plain", "register"]);
    assert!(alice.ok(&["--plain", "whoami"]).contains("alice"));
}

/// A user who asks for encryption must not be connected without it.
#[test]
fn scheme_option_that_contradicts_the_stored_server_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, alice, _) = serve("plain", directory.path());
    alice.ok(&["--plain", "register"]);
    let run = |option: &str| {
        let mut command = Command::new(&*CLIENT);
        command
            .args([option, "--user", "alice", "--profile"])
            .arg(&alice.profile);
        command.arg("whoami").output().unwrap()
    };
    assert!(run("--plain").status.success());
    let refused = run("--tls");
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{errors}");
    assert!(errors.contains("plain://") && errors.contains("--server"), "{errors}");
}

/// Returns the command-line options that select a scheme.
pub(super) fn scheme_options(scheme: &str) -> Vec<String> {
    match scheme {
        "sc1" => Vec::new(),
        other => vec![format!("--{other}")],
    }
}

/// Runs `whoami` in a scheme, without and with `--discover`. Both have to fail with this exit code.
/// Returns their texts on standard error.
fn fails_in(scheme: &str, code: i32, alice: &TestDevice) -> Vec<String> {
    let options = scheme_options(scheme);
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let run = |command: &[&str]| alice.fails(code, &[&options[..], command].concat());
    vec![run(&["whoami"]), run(&["--discover", "whoami"])]
}

#[test]
fn wrong_scheme_error_names_the_scheme_that_proves_the_pinned_key() {
    for (served, requested) in [("sc1", "tls"), ("tls", "sc1")] {
        let directory = tempfile::tempdir().unwrap();
        let (_server, alice, _) = serve(served, directory.path());
        for error in fails_in(requested, 69, &alice) {
            assert!(!error.contains("speaks"), "nothing is pinned yet: {error}");
            assert_eq!(error.contains("the port answers in TLS"), served == "tls", "{error}");
            assert!(!error.contains("plain") && !error.contains("--tls"), "{error}");
        }
        let pins = std::fs::read_to_string(alice.profile.join("known_hosts")).unwrap_or_default();
        assert_eq!(pins, "", "the failed attempts pinned no key");
        let register: Vec<_> = scheme_options(served)
            .into_iter()
            .chain(["register".to_owned()])
            .collect();
        alice.ok(&register.iter().map(String::as_str).collect::<Vec<_>>());
        let expected = format!(
            "{requested}://{0}: its port speaks {served}; try {served}://{0}",
            alice.server
        );
        for error in fails_in(requested, 69, &alice) {
            assert!(error.contains(&expected) && error.lines().count() == 1, "{error}");
        }
    }
}

/// An attacker who takes over the port of the server must not get a token or a password. The client
/// must not suggest the scheme of the attacker either.
#[test]
fn plain_is_neither_suggested_nor_used_for_a_pinned_server() {
    let directory = tempfile::tempdir().unwrap();
    let (server, alice, _) = serve("sc1", directory.path());
    alice.ok(&["register"]);
    server.kill();
    let elsewhere = directory.path().join("attacker");
    std::fs::create_dir(&elsewhere).unwrap();
    let (_attacker, _, _) = serve_at("plain", alice.server.port(), &elsewhere);
    for error in fails_in("sc1", 69, &alice).iter().chain(&fails_in("tls", 69, &alice)) {
        assert!(!error.contains("plain") && error.lines().count() == 1, "{error}");
    }
    for error in fails_in("plain", 76, &alice) {
        assert!(error.contains("is not encrypted"), "{error}");
    }
    // The client of a user without a token does not send the password either.
    let bob = TestDevice {
        name: "bob".to_owned(),
        ..alice.clone()
    };
    for error in fails_in("plain", 76, &bob) {
        assert!(error.contains("has proved itself by a key"), "{error}");
    }
    alice.fails(76, &["--plain", "--allow-plain", "login"]);
    alice.fails(76, &["--plain", "send", "bob", "hello"]);
}

#[test]
fn plain_to_another_machine_needs_allow_plain() {
    let directory = tempfile::tempdir().unwrap();
    let mut alice = TestDevice {
        name: "alice".to_owned(),
        profile: directory.path().join("profile"),
        server: SocketAddr::from(([192, 0, 2, 1], 1)),
    };
    let error = alice.fails(76, &["--plain", "whoami"]);
    assert!(error.contains("--allow-plain"), "{error}");
    let error = alice.fails(76, &["--pin", WRONG_FINGERPRINT, "--plain", "--allow-plain", "whoami"]);
    assert!(error.contains("a key is pinned"), "{error}");
    // On this machine `--plain` suffices: the client tries to connect to the port, which is closed.
    let closed_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    alice.server = closed_port.local_addr().unwrap();
    drop(closed_port);
    alice.fails(69, &["--plain", "whoami"]);
}

/// A server of the list that is forbidden must keep the client neither from using the others, nor
/// from reporting why they fail.
#[test]
fn forbidden_server_of_a_list_is_skipped() {
    let directory = tempfile::tempdir().unwrap();
    let (server, alice, _) = serve("sc1", directory.path());
    alice.ok(&["register"]);
    let forbidden = "plain://192.0.2.1:1".to_owned();
    let usable = format!("sc1://{}", alice.server);
    let run = |servers: [&String; 2], command: &[&str]| {
        let mut client = Command::new(&*CLIENT);
        for server in servers {
            client.args(["--server", server]);
        }
        client.args(["--user", "alice", "--profile"]).arg(&alice.profile);
        let output = client.args(command).output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let orders = [[&forbidden, &usable], [&usable, &forbidden]];
    let commands = [&["whoami"][..], &["--discover", "whoami"]];
    for (servers, command) in orders
        .iter()
        .flat_map(|servers| commands.map(|command| (*servers, command)))
    {
        assert_eq!(
            run(servers, command),
            (Some(0), String::new()),
            "{servers:?} {command:?}"
        );
    }
    server.kill();
    for (servers, command) in orders
        .iter()
        .flat_map(|servers| commands.map(|command| (*servers, command)))
    {
        let (code, error) = run(servers, command);
        assert_eq!(code, Some(69), "{servers:?} {command:?}: {error}");
        assert!(error.contains(&usable) && !error.contains("192.0.2.1"), "{error}");
    }
    let (code, error) = run([&forbidden, &forbidden], &["whoami"]);
    assert_eq!(code, Some(76), "{error}");
}

#[test]
fn token_of_an_encrypted_session_is_not_sent_unencrypted() {
    let directory = tempfile::tempdir().unwrap();
    let (server, mut alice, _) = serve("sc1", directory.path());
    alice.ok(&["register"]);
    server.kill();
    // The same service listens unencrypted at another port, for which no key is pinned.
    let (server, plain, _) = serve("plain", directory.path());
    alice.server = plain.server;
    for command in [&["whoami"][..], &["login"], &["send", "bob", "hello"]] {
        let error = alice.fails(76, &[&["--plain"], command].concat());
        assert!(error.contains("tokens are never"), "{error}");
    }
    // A device that logged in unencrypted may use its token unencrypted.
    let plain_device = TestDevice {
        profile: directory.path().join("other"),
        ..alice
    };
    plain_device.ok(&["--plain", "login"]);
    let mut whoami = plain_device.command(&["--plain", "whoami"]);
    assert!(whoami.env_remove("CHAT_PASSWORD").output().unwrap().status.success());
    drop(server);
}
