//! Tests of failures: their texts on standard error, and the exit codes by which scripts
//! distinguish them. `src/failure.rs` lists the codes. Other tests are of the outbox, the agent,
//! several addresses of servers, and the help.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::support::{CLIENT, PASSWORD, RunningProcess, TestDevice, TestServer, parse};

#[test]
fn exit_codes_distinguish_failures() {
    let server = TestServer::new();
    let [alice, _bob] = server.friends(["alice", "bob"]);
    alice.fails(2, &["send"]);
    alice.fails(2, &["friend", "add", "not a name"]);
    alice.fails(1, &["send", "nobody", "hello"]);
    alice.fails(1, &["register"]);
    let wrong = alice
        .command(&["login"])
        .env("CHAT_PASSWORD", "wrong password")
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(77));
    let errors = alice.fails(75, &["--json", "listen", "--count", "1", "--timeout", "0.3"]);
    let error: Value = serde_json::from_str(errors.trim()).unwrap();
    assert_eq!(error["error"]["kind"], "timeout");
    let errors = alice.fails(1, &["--json", "send", "nobody", "hello"]);
    let error: Value = serde_json::from_str(errors.trim()).unwrap();
    assert_eq!(
        (&error["error"]["kind"], &error["error"]["code"]),
        (&"refused".into(), &400.into())
    );
    let empty = server.device("carol", "empty");
    let without_session = empty.command(&["whoami"]).env_remove("CHAT_PASSWORD").output().unwrap();
    assert_eq!(without_session.status.code(), Some(77));
    // These commands need neither a server nor a session.
    assert!(alice.ok(&["completions", "bash"]).contains("chat-client"));
    assert!(alice.ok(&["man"]).contains(".TH chat-client"));
}

/// `--server`, `--pin` and `--ca` would have no effect, and a success would suggest that they had
/// one.
#[test]
fn server_key_and_authorities_of_a_running_agent_cannot_be_changed() {
    let server = TestServer::new();
    let [alice, _bob] = server.friends(["alice", "bob"]);
    let listener = alice.start(&["listen", "--json", "--own"]);
    alice.ok(&["send", "bob", "one"]);
    listener.until("one");
    let key = server.process.fingerprint().to_string();
    assert!(alice.ok(&["--pin", &key, "whoami"]).contains(&alice.server.to_string()));
    let other_key = "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let errors = alice.fails(2, &["--pin", other_key, "send", "bob", "two"]);
    assert!(errors.contains("end that process") && errors.contains(&key), "{errors}");
    let mut elsewhere = alice.clone();
    elsewhere.server.set_port(1);
    let errors = elsewhere.fails(2, &["send", "bob", "three"]);
    assert!(errors.contains("--server"), "{errors}");
    let authorities = server.path("ca.pem");
    fs::write(&authorities, "any").unwrap();
    let errors = alice.fails(2, &["--ca", authorities.to_str().unwrap(), "send", "bob", "four"]);
    assert!(
        errors.contains("end that process") && errors.contains("--ca"),
        "{errors}"
    );
    assert_eq!(alice.texts(&["bob"]), ["one"]);
    let stored = fs::read_to_string(alice.profile.join("accounts/alice/server")).unwrap();
    assert_eq!(stored.trim(), format!("sc1://{}", alice.server));
}

#[test]
fn unwritable_standard_error_does_not_change_the_exit_code() {
    let server = TestServer::new();
    let alice = server.device("alice", "alice");
    for (arguments, code) in [(&["whoami"][..], 77), (&["--json", "whoami"], 77), (&["send"], 2)] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = alice
            .command(arguments)
            .env_remove("CHAT_PASSWORD")
            .stderr(full)
            .output();
        assert_eq!(output.unwrap().status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn login_reads_a_password_file_of_at_most_64_kib() {
    let server = TestServer::new();
    server.register("alice");
    let path = server.path("password");
    fs::write(&path, format!("{PASSWORD}\n")).unwrap();
    let second = server.device("alice", "alice-2");
    let login = second
        .command(&["login", "--password-file"])
        .arg(&path)
        .env_remove("CHAT_PASSWORD")
        .output()
        .unwrap();
    assert!(login.status.success());
    let endless = second
        .command(&["login", "--password-file", "/dev/zero"])
        .output()
        .unwrap();
    assert_eq!(endless.status.code(), Some(2));
    let text = String::from_utf8_lossy(&endless.stderr);
    assert!(text.contains("larger than 64 KiB"), "{text}");
}

#[test]
fn client_pins_the_server_key_and_refuses_other_keys() {
    let server = TestServer::new();
    let alice = server.device("alice", "alice");
    let registered = alice.run(&["register"]);
    let warning = String::from_utf8(registered.stderr).unwrap();
    let key = server.process.fingerprint().to_string();
    assert!(warning.contains(&key), "{warning}");
    assert!(
        alice.run(&["whoami"]).stderr.is_empty(),
        "the key is printed on first contact only"
    );

    let known_hosts = alice.profile.join("known_hosts");
    let pins = fs::read_to_string(&known_hosts).unwrap();
    let other_key = "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    fs::write(&known_hosts, pins.replace(&key, other_key)).unwrap();
    let errors = alice.fails(76, &["whoami"]);
    assert!(errors.contains(&key), "{errors}");
    alice.fails(76, &["--pin", other_key, "whoami"]);
    alice.ok(&["--pin", &key, "whoami"]);
}

/// A wrong `--server` must not disclose the session token or the password to another service.
#[test]
fn profile_refuses_a_second_service() {
    let (server, other_server) = (TestServer::new(), TestServer::new());
    let alice = server.register("alice");
    let mut misdirected = alice.clone();
    misdirected.server = other_server.process.address();
    let errors = misdirected.fails(76, &["whoami"]);
    assert!(errors.contains("--pin") && errors.contains("--profile"), "{errors}");
    misdirected.fails(76, &["register"]);
    let key = other_server.process.fingerprint().to_string();
    // With `--pin` the client connects to the other service, which has no account of alice.
    misdirected.fails(77, &["--pin", &key, "login"]);
    alice.ok(&["whoami"]);
}

#[test]
fn outbox_keeps_messages_until_the_server_returns() {
    let mut server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    alice.ok(&["send", "bob", "one"]);
    server.process.kill();
    alice.fails(69, &["whoami"]);
    let errors = alice.fails(75, &["send", "bob", "two"]);
    assert!(errors.contains("kept in the outbox"), "{errors}");
    let errors = alice.fails(75, &["--json", "send", "bob", "three"]);
    assert!(errors.contains(r#""kind":"queued""#), "{errors}");
    server.process.kill_and_restart().unwrap();
    alice.ok(&["whoami"]);
    assert_eq!(bob.texts(&["alice"]), ["one", "two", "three"]);
}

#[test]
fn client_tries_every_server_address() {
    let server = TestServer::new();
    let alice = server.register("alice");
    let closed_port = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut unreachable = alice.clone();
    unreachable.server = closed_port.local_addr().unwrap();
    drop(closed_port);
    unreachable.fails(69, &["whoami"]);
    // Of two addresses, the client uses the address that answers.
    let both = format!("{},{}", unreachable.server, alice.server);
    assert!(alice.ok(&["--server", &both, "whoami"]).contains("alice"));
    // If a server lists no nodes, `--discover` uses that server.
    assert!(alice.ok(&["--server", &both, "--discover", "whoami"]).contains("alice"));
    unreachable.fails(69, &["--discover", "whoami"]);
}

#[test]
fn listener_serves_commands_of_its_profile() {
    let server = TestServer::new();
    let [alice, _bob] = server.friends(["alice", "bob"]);
    let listener: RunningProcess = alice.start(&["listen", "--json", "--own"]);
    // The listener has the account open and is its agent (`src/agent.rs`): `send` sends through it.
    alice.ok(&["send", "bob", "beside the listener"]);
    assert!(listener.until("beside the listener").contains(r#""from":"alice""#));
    let errors = alice.fails(75, &["listen", "--count", "1"]);
    assert!(errors.contains("in use"), "{errors}");
    listener.kill();
    alice.ok(&["whoami"]);
}

#[test]
fn listener_serves_commands_of_a_profile_with_a_long_path() {
    let server = TestServer::new();
    let mut alice = server.device("alice", &"long".repeat(40));
    alice.ok(&["register"]);
    alice.ok(&["account", "--direct", "everyone"]);
    let listener = alice.start(&["listen", "--json", "--own"]);
    alice.ok(&["send", "alice", "beside the listener"]);
    listener.until("beside the listener");
    drop(listener);

    // A listener that cannot serve other commands says so.
    alice.profile = server.path("blocked");
    alice.ok(&["login"]);
    fs::create_dir(alice.profile.join("accounts/alice/agent")).unwrap();
    let notice = "other commands cannot use this account while this one runs: cannot listen at ";
    let blocked = alice.start(&["listen"]);
    blocked.until_error(notice);
    drop(blocked);

    // A sender of lines says it once, not for each line.
    let mut sender = alice.command(&["send", "alice", "-"]);
    let pipes = sender
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut sender = pipes.spawn().unwrap();
    let mut input = sender.stdin.take().unwrap();
    input.write_all(b"one\ntwo\nthree\n").unwrap();
    drop(input);
    let output = sender.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 3);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(errors.matches(notice).count(), 1, "{errors}");
}

/// Messages that could not be printed stay unread.
#[cfg(target_os = "linux")]
#[test]
fn interactive_client_fails_if_its_output_cannot_be_written() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    bob.ok(&["send", "alice", "important"]);
    let run = |output: Stdio| {
        let mut command = alice.command(&[]);
        let pipes = command.stdin(Stdio::piped()).stdout(output).stderr(Stdio::piped());
        let mut client = pipes.spawn().unwrap();
        client.stdin.take().unwrap().write_all(b"/dm bob\n").unwrap();
        client.wait_with_output().unwrap()
    };
    let full = run(fs::File::options().write(true).open("/dev/full").unwrap().into());
    let errors = String::from_utf8(full.stderr).unwrap();
    assert_eq!(full.status.code(), Some(74), "{errors}");
    assert!(errors.contains("cannot write the output"), "{errors}");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(run(writer.into()).status.code(), Some(141));
    assert_eq!(alice.json(&["conversations"])[0]["unread"], 1);
    let shown = run(Stdio::piped());
    assert!(String::from_utf8(shown.stdout).unwrap().contains("important"));
    assert_eq!(alice.json(&["conversations"])[0]["unread"], 0);
}

#[test]
fn closed_output_pipe_ends_a_command_without_a_message() {
    let server = TestServer::new();
    let alice = server.register("alice");
    for arguments in [&["whoami"][..], &["--json", "whoami"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = alice.command(arguments).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(141), Vec::new()));
    }
}

/// Runs a command with `input` on its standard input. Returns its exit code, and the texts of its
/// standard output and standard error.
fn run_with_input(device: &TestDevice, arguments: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
    let mut command = device.command(arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn invalid_line_does_not_stop_the_lines_after_it() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let input = b"one\n\xff\n\ntwo\na\0b\nthree\n";
    let (code, sent, errors) = run_with_input(&alice, &["send", "bob", "-"], input);
    assert_eq!((code, sent.as_str()), (Some(1), "1\n2\n3\n"), "{errors}");
    assert!(errors.contains("line 2: ") && errors.contains("line 5: "), "{errors}");

    let (code, sent, errors) = run_with_input(&alice, &["--json", "send", "bob", "-"], input);
    let kinds: Vec<_> = parse(&errors)
        .iter()
        .map(|line| line["error"]["kind"].clone())
        .collect();
    assert_eq!((code, parse(&sent).len()), (Some(1), 3));
    assert_eq!(kinds, ["usage", "usage", "failed"]);

    // A line that the server refuses is reported in the same way.
    let (code, sent, errors) = run_with_input(&alice, &["send", "nobody", "-"], b"one\ntwo\n");
    assert_eq!((code, sent.as_str()), (Some(1), ""));
    assert!(errors.contains("line 2: ") && errors.contains("2 lines"), "{errors}");

    let (code, output, errors) = run_with_input(&alice, &[], b"/dm bob\nfour\n\xff\nfive\n");
    assert!(output.contains("#7 bob") && output.contains("#8 bob"), "{output}");
    assert!(code == Some(1) && errors.contains("line 3: "), "{errors}");
    assert_eq!(
        bob.texts(&["alice"]),
        ["one", "two", "three", "one", "two", "three", "four", "five"]
    );
}

#[test]
fn impossible_message_number_or_id_is_refused_and_not_queued() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    alice.ok(&["send", "bob", "mine"]);
    for number in [
        "0",
        "9223372036854775808",
        "18446744073709551615",
        "99999999999999999999",
    ] {
        alice.fails(2, &["edit", "bob", number, "x"]);
        alice.fails(2, &["recall", "bob", number]);
        alice.fails(2, &["react", "bob", number, "👍"]);
        alice.fails(2, &["send", "bob", "x", "--reply-to", number]);
        alice.fails(2, &["send", number, "x"]); // here the number is the id of a user
        let script = format!("/dm bob\n/edit {number} x\n");
        let (code, _, errors) = run_with_input(&alice, &[], script.as_bytes());
        assert_eq!(code, Some(1));
        assert!(errors.contains("line 2: /edit [SEQ] TEXT"), "{errors}");
    }
    // The largest possible number is sent to the server, which finds no such message.
    alice.fails(1, &["edit", "bob", "9223372036854775807", "x"]);
    assert_eq!(bob.texts(&["alice"]), ["mine"]);
    alice.ok(&["whoami"]);
}

#[test]
fn json_option_covers_command_line_errors() {
    let server = TestServer::new();
    let alice = server.register("alice");
    for wrong in [
        &["send"][..],
        &["friend"],
        &["unheard-of"],
        &["history", "bob", "--limit", "x"],
        &["--plain", "--tls", "whoami"],
        &[],
    ] {
        let arguments: Vec<_> = [&["--json"], wrong].concat();
        let errors = parse(&alice.fails(2, &arguments));
        assert_eq!(
            (errors.len(), &errors[0]["error"]["kind"]),
            (1, &"usage".into()),
            "{wrong:?}"
        );
        let text = errors[0]["error"]["text"].as_str().unwrap();
        assert!(
            !text.is_empty() && !text.contains('\n') && !text.contains("Usage"),
            "{text}"
        );
    }
    assert!(
        alice.fails(2, &["send"]).contains("Usage:"),
        "output without --json shows the usage"
    );
    assert!(alice.ok(&["--json", "--help"]).contains("Usage:"));
}

#[test]
fn damaged_profile_is_not_treated_as_empty() {
    let server = TestServer::new();
    let alice = server.register("alice");
    let account = alice.profile.join("accounts/alice");
    let whoami = || {
        let mut command = Command::new(&*CLIENT);
        let output = command
            .args(["whoami", "--profile"])
            .arg(&alice.profile)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(whoami().0, Some(0));
    for path in [
        alice.profile.join("current"),
        account.join("server"),
        account.join("outbox"),
    ] {
        let healthy = fs::read(&path).unwrap();
        for damaged in [&b""[..], b"\xff\xfe\n"] {
            fs::write(&path, damaged).unwrap();
            let (code, errors) = whoami();
            assert_eq!(code, Some(74), "{errors}");
            assert!(errors.contains(path.to_str().unwrap()), "{errors}");
        }
        fs::write(&path, healthy).unwrap();
    }
    assert_eq!(whoami().0, Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn unwritable_output_is_reported_unless_its_pipe_is_closed() {
    let server = TestServer::new();
    let alice = server.register("alice");
    for command in [
        &["--help"][..],
        &["--version"],
        &["man"],
        &["completions", "bash"],
        &["whoami"],
    ] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = alice.command(command).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(74), "{command:?}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = alice.command(command).stdout(writer).output().unwrap();
        assert_eq!(
            (output.status.code(), output.stderr),
            (Some(141), Vec::new()),
            "{command:?}"
        );
    }
}

#[test]
fn commands_report_outcomes_of_queued_messages() {
    let mut server = TestServer::new();
    let [alice, _bob] = server.friends(["alice", "bob"]);
    let commands = [
        &["whoami"][..],
        &["send", "bob", "hello"],
        &["friend", "list"],
        &["listen", "--timeout", "1.5"],
        &[], // interactive, with an empty input
    ];
    for command in commands {
        for json in [false, true] {
            if json && command.is_empty() {
                continue;
            }
            server.process.kill();
            alice.fails(75, &["send", "nobody", "one"]);
            alice.fails(75, &["send", "bob", "two"]);
            server.process.kill_and_restart().unwrap();
            let options = if json { &["--json"][..] } else { &[] };
            let run = alice.run(&[options, command].concat());
            assert!(run.status.success(), "{command:?}");
            let streams = [run.stderr, run.stdout].map(|bytes| String::from_utf8(bytes).unwrap());
            let [errors, output] = streams;
            if !json {
                let all = format!("{errors}{output}");
                assert!(
                    all.contains("an earlier message to nobody was not stored: "),
                    "{command:?}: {all}"
                );
                assert!(
                    all.contains("an earlier message to bob was stored as #"),
                    "{command:?}: {all}"
                );
                continue;
            }
            let notices = parse(&errors);
            let outcome = |user: &str| {
                let is_to_user = |notice: &&Value| notice["notice"]["conversation"]["direct"] == user;
                let notice = notices
                    .iter()
                    .find(is_to_user)
                    .unwrap_or_else(|| panic!("{command:?}: {errors}"));
                assert_eq!(notice["notice"]["kind"], "outbox");
                notice["notice"]["outcome"].as_str().unwrap().to_owned()
            };
            assert_eq!(
                (outcome("nobody").as_str(), outcome("bob").as_str()),
                ("not_stored", "stored")
            );
        }
    }
}

#[test]
fn lines_that_are_not_taken_are_reported() {
    let mut server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    server.process.kill();
    let input = (1..=200).map(|number| format!("{number}\n")).collect::<String>();
    let arguments = ["--json", "--timeout", "2", "send", "bob", "-"];
    let (code, sent, errors) = run_with_input(&alice, &arguments, input.as_bytes());
    assert_eq!((code, sent.as_str()), (Some(75), ""), "{errors}");
    let error = &parse(&errors).pop().unwrap()["error"];
    let last = error["last_line"].as_u64().unwrap();
    assert!((1..200).contains(&last), "{errors}");
    assert!(
        error["text"]
            .as_str()
            .unwrap()
            .contains(&format!("line {last} is the last line that was taken"))
    );
    server.process.kill_and_restart().unwrap();
    alice.ok(&["whoami"]);
    let taken: Vec<_> = (1..=last).map(|number| number.to_string()).collect();
    assert_eq!(bob.texts(&["alice"]), taken);
}

#[test]
fn first_steps_and_subcommands_are_documented() {
    let server = TestServer::new();
    let alice = server.device("alice", "empty");
    assert!(alice.ok(&["--help"]).contains("register` creates an account"));
    let mut command = Command::new(&*CLIENT);
    let output = command
        .args(["whoami", "--profile"])
        .arg(&alice.profile)
        .output()
        .unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("register"));
    let manual = alice.ok(&["man"]);
    assert!(manual.contains("CHAT-CLIENT GROUP CREATE"), "{manual}");
    assert!(!manual.contains("send(1)"), "pages of commands do not exist");
}
