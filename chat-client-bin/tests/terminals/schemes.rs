//! TLS and plain text with the real programs.

use std::process::Command;

use super::support::{Running, TestDevice, server_program};

const WRONG_FINGERPRINT: &str = "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Starts a server with this scheme. Returns the server, an unregistered device that uses it, and
/// the fingerprint of the server.
fn serve(scheme: &str, directory: &std::path::Path) -> (Running, TestDevice, String) {
    let mut command = Command::new(server_program());
    command
        .args(["--listen", &format!("{scheme}://127.0.0.1:0"), "--data-dir"])
        .arg(directory.join("data"))
        .env("CHAT_LOG__LEVEL", "warn");
    let server = Running::start(command);
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
    assert!(alice.ok(&["--tls", "--pin", &fingerprint, "whoami"]).contains("alice"));
    alice.fails(76, &["--tls", "--pin", WRONG_FINGERPRINT, "whoami"]);
    assert!(
        alice.ok(&["--tls", "--pin", &fingerprint, "whoami"]).contains("alice"),
        "the server still runs"
    );
}

#[test]
fn plain_text_requires_the_option_of_both_sides() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, alice, _) = serve("plain", directory.path());
    assert!(!alice.run(&["register"]).status.success());
    assert!(!alice.run(&["--tls", "register"]).status.success());
    alice.ok(&["--plain", "register"]);
    assert!(alice.ok(&["--plain", "whoami"]).contains("alice"));
}

#[test]
fn wrong_scheme_error_names_the_scheme_of_the_server() {
    let schemes = [("sc1", None), ("tls", Some("--tls")), ("plain", Some("--plain"))];
    for (spoken, _) in schemes {
        let directory = tempfile::tempdir().unwrap();
        let (_server, alice, _) = serve(spoken, directory.path());
        for (wanted, option) in schemes.into_iter().filter(|(wanted, _)| *wanted != spoken) {
            for command in [&["whoami"][..], &["--discover", "whoami"]] {
                let arguments: Vec<_> = option.into_iter().chain(command.iter().copied()).collect();
                let error = alice.fails(69, &arguments);
                let expected = format!(
                    "{wanted}://{0}: its port speaks {spoken}; try {spoken}://{0}",
                    alice.server
                );
                assert!(error.contains(&expected) && error.lines().count() == 1, "{error}");
            }
        }
        let pins = std::fs::read_to_string(alice.profile.join("known_hosts")).unwrap_or_default();
        assert_eq!(pins, "", "no key was pinned");
    }
}
