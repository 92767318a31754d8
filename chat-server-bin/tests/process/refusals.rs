//! Tests of what the program refuses, and of the texts that say what to do: secrets that are not
//! shown, empty and unreadable stores, oversized files, and configurations with which the server
//! would not start.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::support::{PROGRAM, exit_code_and_log, program, run_program, signal, start, stderr, stdout};

#[test]
fn shown_configuration_contains_no_password() {
    let directory = tempfile::tempdir().unwrap();
    for url in [
        "mysql://chat:Se/cret@127.0.0.1:3306/chat",
        "mysql://chat:S@e/cret@127.0.0.1:3306/chat",
        "postgres://chat:cret@127.0.0.1/chat",
        "mysql://chat@127.0.0.1/chat?password=cret",
    ] {
        let mut show = program(directory.path(), &["config", "show"]);
        let output = show
            .env("CHAT_STORE__URL", url)
            .env("CHAT_BUS__URL", url)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(!stdout(&output).contains("cret"), "{}", stdout(&output));
    }
}

#[test]
fn start_with_an_unresolvable_listener_opens_no_store() {
    let directory = tempfile::tempdir().unwrap();
    let refused = run_program(directory.path(), &["--listen", "sc1://no-such-host.invalid:7400"]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(
        stderr(&refused).contains("server.listen: cannot resolve sc1://no-such-host.invalid:7400"),
        "{}",
        stderr(&refused)
    );
    assert!(!directory.path().join("chat-data").exists());
}

#[test]
fn backup_and_new_epoch_create_no_store() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("chat-data");
    for command in [&["new-epoch"][..], &["backup", "copy.db"]] {
        let missing = run_program(directory.path(), command);
        assert_eq!(missing.status.code(), Some(69));
        assert!(stderr(&missing).contains("there is no store"), "{}", stderr(&missing));
        assert!(!data.exists() && !directory.path().join("copy.db").exists());
    }
    fs::create_dir(&data).unwrap();
    fs::write(data.join("chat.db"), "").unwrap();
    let empty = run_program(directory.path(), &["new-epoch"]);
    assert_eq!(empty.status.code(), Some(69));
    assert!(
        stderr(&empty).contains("restore a backup in its place"),
        "{}",
        stderr(&empty)
    );
    assert_eq!(fs::metadata(data.join("chat.db")).unwrap().len(), 0);
}

#[test]
fn check_config_refuses_what_the_start_refuses() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let file = file.display().to_string();
    for (text, expected) in [
        ("[store]\nurl = \"mysql://chat:Se/cret@127.0.0.1/chat\"", "store.url"),
        ("[store]\nurl = \"mysql://chat:S@e/cret@127.0.0.1/chat\"", "store.url"),
        ("[store]\nurl = \"mysql://chat:secret@127.0.0.1\"", "store.url"),
        (
            "[store]\nurl = \"mysql://chat:secret@127.0.0.1/chat?no_such=1\"",
            "store.url",
        ),
        ("[store]\nurl = \"mysql:chat:secret@127.0.0.1/chat\"", "store.url"),
        (
            "[store]\nurl = \"mysql://chat@127.0.0.1/chat\"\n[bus]\nurl = \"redis://:se/cret@127.0.0.1/\"",
            "bus.url",
        ),
        (&format!("[identity]\nkey_file = {file:?}"), "mode 644"),
        (
            "[limits]\nmessage_rate_per_connection = \"1/0s\"",
            "limits.message_rate_per_connection",
        ),
        ("[limits]\npacket_rate = \"0/1s\"", "limits.packet_rate"),
        (
            "[limits]\nmax_packets_before_login = 1",
            "limits.max_packets_before_login",
        ),
        ("[limits]\nmax_text_bytes = \"17KiB\"", "limits.max_text_bytes"),
        ("[limits]\nmax_mentions = 51", "limits.max_mentions"),
        (
            &format!("[server]\ndata_dir = {:?}", format!("{file}/data")),
            "data directory",
        ),
        (&format!("[server]\ndata_dir = {file:?}"), "data directory"),
    ] {
        fs::write(directory.path().join("bad.toml"), text).unwrap();
        let checked = run_program(directory.path(), &["-c", "bad.toml", "check-config"]);
        assert_eq!(checked.status.code(), Some(78), "{text}");
        assert!(stderr(&checked).contains(expected), "{text}: {}", stderr(&checked));
        assert!(!stderr(&checked).contains("cret@"), "{}", stderr(&checked));
        let data = directory.path().join("chat-data");
        assert!(!data.exists(), "the check creates nothing");
        let started = run_program(directory.path(), &["-c", "bad.toml", "--listen", "sc1://127.0.0.1:0"]);
        assert!(matches!(started.status.code(), Some(69 | 78)), "{text}");
        assert!(stderr(&started).contains(expected), "{text}: {}", stderr(&started));
        let _ = fs::remove_dir_all(data);
    }
}

#[test]
fn check_config_names_a_certificate_that_does_not_match_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    };
    let certified = || rcgen::generate_simple_self_signed(vec!["chat.example".to_owned()]).unwrap();
    let (one, other) = (certified(), certified());
    write("certificate.pem", &one.cert.pem());
    write("key.pem", &one.signing_key.serialize_pem());
    write("other-key.pem", &other.signing_key.serialize_pem());
    let run = |arguments: &[&str], key: &str| {
        let mut command = program(directory.path(), arguments);
        command.args(["--listen", "tls://127.0.0.1:0"]);
        command.env("CHAT_TLS__CERTIFICATE_FILE", "certificate.pem");
        command.env("CHAT_TLS__KEY_FILE", key).output().unwrap()
    };
    let valid = run(&["check-config"], "key.pem");
    assert!(valid.status.success(), "{}", stderr(&valid));
    for command in ["check-config", "run"] {
        let refused = run(&[command], "other-key.pem");
        let text = stderr(&refused);
        assert_eq!(refused.status.code(), Some(78), "{command}: {text}");
        assert!(
            text.contains("tls.certificate_file certificate.pem")
                && text.contains("tls.key_file other-key.pem")
                && text.to_lowercase().contains("match"),
            "{command}: {text}"
        );
    }
    // The certificate is no key, and the key is no certificate.
    for (certificate, key) in [("key.pem", "key.pem"), ("certificate.pem", "certificate.pem")] {
        let mut command = program(directory.path(), &["check-config", "--listen", "tls://127.0.0.1:0"]);
        command.env("CHAT_TLS__CERTIFICATE_FILE", certificate);
        let refused = command.env("CHAT_TLS__KEY_FILE", key).output().unwrap();
        let text = stderr(&refused);
        assert_eq!(refused.status.code(), Some(78), "{certificate} {key}: {text}");
        assert!(text.contains("tls.certificate_file"), "{text}");
    }
}

/// Both listeners belong to this server, so the error must not blame another program.
#[test]
fn listeners_that_want_the_same_address_are_named() {
    let directory = tempfile::tempdir().unwrap();
    for [one, other] in [
        ["sc1://127.0.0.1:7400", "tls://localhost:7400"],
        ["sc1://0.0.0.0:7400", "tls://127.0.0.2:7400"],
        ["sc1://[::1]:7400", "sc1+proxy://[::]:7400"],
    ] {
        for command in ["check-config", "run"] {
            let mut refused = program(directory.path(), &[command, "--listen", one, "--listen", other]);
            refused.args(["--listen", "sc1://127.0.0.1:0", "--listen", "sc1://127.0.0.1:0"]);
            let refused = refused
                .env("CHAT_SERVER__TRUSTED_PROXIES", "127.0.0.1")
                .output()
                .unwrap();
            let text = stderr(&refused);
            assert_eq!(refused.status.code(), Some(78), "{command} {one} {other}: {text}");
            assert!(
                text.contains(&format!("{one} and {other} want the same address")) && !text.contains("another program"),
                "{text}"
            );
        }
    }
    assert!(!directory.path().join("chat-data").exists());
}

/// Id of the user `nobody`.
const NOBODY: u32 = 65_534;

/// Runs the program as a user to whom the modes of files apply. Root may open every file, so tests
/// that run as root start the program as `nobody`.
fn run_without_rights(directory: &Path, arguments: &[&str]) -> Output {
    if !rustix::process::geteuid().is_root() {
        return run_program(directory, arguments);
    }
    let copy = directory.join("chat-server-copy");
    if !copy.exists() {
        fs::copy(&*PROGRAM, &copy).unwrap();
        fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(copy);
    command.env_clear().current_dir(directory).args(arguments);
    command.uid(NOBODY).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn unreadable_store_is_not_reported_as_absent() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let data = directory.path().join("chat-data");
    let migrated = run_program(directory.path(), &["migrate"]);
    assert!(migrated.status.success(), "{}", stderr(&migrated));
    let check = |path: &Path, commands: &[&[&str]]| {
        for command in commands {
            let refused = run_without_rights(directory.path(), command);
            let text = stderr(&refused);
            assert_eq!(refused.status.code(), Some(69), "{command:?}: {text}");
            let path = path.strip_prefix(directory.path()).unwrap().display().to_string();
            assert!(
                text.contains("permission denied") && text.contains(&path) && text.contains("chown"),
                "{command:?}: {text}"
            );
        }
    };
    let commands = [
        &["user", "list"][..],
        &["new-epoch"],
        &["backup", "/tmp/never-written.db"],
    ];
    fs::set_permissions(&data, Permissions::from_mode(0o0)).unwrap();
    check(&data.join("chat.db"), &commands);
    // The directory is accessible, but the file is not.
    fs::set_permissions(&data, Permissions::from_mode(0o770)).unwrap();
    fs::set_permissions(data.join("chat.db"), Permissions::from_mode(0o0)).unwrap();
    fs::set_permissions(data.join("lock"), Permissions::from_mode(0o666)).unwrap();
    check(&data.join("chat.db"), &commands);
    // The lock cannot be opened.
    fs::set_permissions(data.join("chat.db"), Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(data.join("lock"), Permissions::from_mode(0o0)).unwrap();
    check(&data.join("lock"), &[&["user", "list"], &["migrate"]]);
}

/// Id of a user who is neither root nor `nobody`.
const OTHER_USER: u32 = 65_533;

fn set_owner_and_mode(path: &Path, owner: u32, mode: u32) {
    chown(path, Some(owner), None).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The server runs as `nobody` in the group of root, which has access to the files.
#[test]
fn data_directory_and_keys_of_another_user_are_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!(
            "data_directory_and_keys_of_another_user_are_refused checks nothing, because it does not run as root"
        );
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let (data, key) = (directory.path().join("chat-data"), directory.path().join("key.pem"));
    let generated = run_program(directory.path(), &["keygen", "--out", "key.pem", "--bits", "2048"]);
    assert!(generated.status.success(), "{}", stderr(&generated));
    fs::create_dir(&data).unwrap();
    fs::write(directory.path().join("chat.toml"), "[identity]\nkey_file = \"key.pem\"").unwrap();
    let other = format!("belongs to the user with the id {OTHER_USER}");
    for (owner_of_data, key_owner, key_mode, expected) in [
        (OTHER_USER, NOBODY, 0o600, ["the data directory ", other.as_str()]),
        (NOBODY, OTHER_USER, 0o640, ["the key ", other.as_str()]),
        (NOBODY, NOBODY, 0o660, ["can replace the key ", "chmod go-w"]),
        (NOBODY, NOBODY, 0o602, ["can replace the key ", "chmod go-w"]),
    ] {
        set_owner_and_mode(&data, owner_of_data, 0o770);
        set_owner_and_mode(&key, key_owner, key_mode);
        for command in [&["check-config"][..], &["run", "--listen", "sc1://127.0.0.1:0"]] {
            let arguments = [&["-c", "chat.toml"][..], command].concat();
            let refused = run_without_rights(directory.path(), &arguments);
            let text = stderr(&refused);
            assert_eq!(refused.status.code(), Some(78), "{command:?}: {text}");
            assert!(expected.iter().all(|part| text.contains(part)), "{command:?}: {text}");
        }
    }
    // The data directory may belong to the user who runs the server, or to root.
    for owner in [NOBODY, 0] {
        set_owner_and_mode(&data, owner, 0o770);
        set_owner_and_mode(&key, NOBODY, 0o600);
        let accepted = run_without_rights(directory.path(), &["-c", "chat.toml", "check-config"]);
        assert!(accepted.status.success(), "{owner}: {}", stderr(&accepted));
    }
}

#[test]
fn start_warns_of_access_of_other_users_to_the_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("chat-data");
    fs::create_dir(&data).unwrap();
    let access = "other users have access to the data directory";
    let replace = "those of its group can replace its files";
    let owner = "the server runs as root on the data directory of another user";
    let user = rustix::process::geteuid().as_raw();
    let mut cases = vec![
        (user, 0o700, vec![]),
        (user, 0o750, vec![access]),
        (user, 0o770, vec![access, replace]),
    ];
    if user == 0 {
        cases.push((OTHER_USER, 0o700, vec![owner]));
    }
    for (owner_of_data, mode, expected) in cases {
        set_owner_and_mode(&data, owner_of_data, mode);
        let (child, _) = start(directory.path(), &["--listen", "sc1://127.0.0.1:0"]);
        signal(&child, "TERM");
        let (code, log) = exit_code_and_log(child);
        assert_eq!(code, Some(0), "{log}");
        for warning in [access, replace, owner] {
            let is_expected = expected.contains(&warning);
            assert_eq!(log.contains(warning), is_expected, "{owner_of_data} {mode:o}: {log}");
        }
    }
}

#[test]
fn oversized_files_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let migrated = run_program(directory.path(), &["migrate"]);
    assert!(migrated.status.success(), "{}", stderr(&migrated));
    for (arguments, code, text) in [
        (
            &["user", "add", "alice", "--password-file", "/dev/zero"][..],
            1,
            "larger than 64 KiB",
        ),
        (&["check-config", "-c", "/dev/zero"], 78, "larger than 1024 KiB"),
    ] {
        let refused = run_program(directory.path(), arguments);
        assert_eq!(refused.status.code(), Some(code));
        assert!(
            stderr(&refused).contains(text) && stderr(&refused).contains("/dev/zero"),
            "{}",
            stderr(&refused)
        );
    }
}
