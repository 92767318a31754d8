use std::fs;

use super::*;

fn key(byte: u8) -> Fingerprint {
    Fingerprint::from([byte; 32])
}

#[test]
fn known_hosts_parses_lines_and_checks_keys() {
    let text = format!(
        "# pins\n\n  chat.example:7400 {}  first seen today # really\n[::1]:7400\t{}\nchat.example:7400 {}=\n",
        key(1),
        key(2),
        key(3)
    );
    let hosts = KnownHosts::parse(&text).unwrap();
    for (host, presented, expected) in [
        ("chat.example:7400", key(1), PinVerdict::Known),
        ("CHAT.example:7400", key(1), PinVerdict::Known),
        ("chat.example:7400", key(3), PinVerdict::Known),
        ("[::1]:7400", key(2), PinVerdict::Known),
        ("chat.example:7401", key(1), PinVerdict::Unknown),
        ("example:7400", key(1), PinVerdict::Unknown),
        ("[::1]:7400", key(1), PinVerdict::Changed { expected: vec![key(2)] }),
        (
            "chat.example:7400",
            key(2),
            PinVerdict::Changed {
                expected: vec![key(1), key(3)],
            },
        ),
    ] {
        assert_eq!(hosts.check(host, &presented), expected, "{host}");
    }
}

#[test]
fn known_hosts_reports_the_number_of_an_invalid_line() {
    let good = format!("a:1 {}", key(1));
    for bad in [
        "chat.example:7400".to_owned(),
        format!("chat.example {}", key(1)),
        format!("chat.example: {}", key(1)),
        format!(":7400 {}", key(1)),
        format!("chat.example:65536 {}", key(1)),
        format!("chat.example:+74 {}", key(1)),
        format!("::1:7400 {}", key(1)),
        "a:1 sha256:AAAA".to_owned(),
        "a:1 md5:AAAA".to_owned(),
        format!("a:1 {}A", key(1)),
        format!("a:1 SHA256:{}", &key(1).to_string()[7..]),
        format!("a:1, {}", key(1)),
    ] {
        let text = format!("{good}\n\n{bad}\n{good}");
        let error = KnownHosts::parse(&text).unwrap_err();
        assert!(matches!(error, KnownHostsError::Line { line: 3 }), "{bad}: {error}");
    }
}

#[test]
fn policy_follows_trust_only_for_hosts_without_a_pin() {
    let hosts = KnownHosts::parse(&format!("a:1 {}", key(1))).unwrap();
    for trust in [Trust::Strict, Trust::AcceptNew, Trust::AcceptFirst] {
        let policy = hosts.policy("a:1", trust).unwrap();
        assert_eq!(policy, PinPolicy::exactly(key(1)));
        assert!(!policy.accepts(&key(2)));
    }
    let unknown = hosts.policy("b:1", Trust::AcceptNew).unwrap();
    assert_eq!(unknown, PinPolicy::FirstContact);
    let same_service = hosts.policy("b:1", Trust::AcceptFirst).unwrap();
    assert_eq!(same_service, PinPolicy::exactly(key(1)));
    let first = KnownHosts::default().policy("b:1", Trust::AcceptFirst).unwrap();
    assert_eq!(first, PinPolicy::FirstContact);
    let refused = hosts.policy("b:1", Trust::Strict).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "no key is pinned for b:1; pin the fingerprint of the server's key first"
    );
    assert_eq!(Trust::default(), Trust::Strict);
}

#[test]
fn hosts_and_lines_are_written_in_the_form_of_the_file() {
    assert_eq!(host_and_port("Chat.Example", 7400), "chat.example:7400");
    assert_eq!(host_and_port("2001:DB8::1", 1), "[2001:db8::1]:1");
    assert_eq!(host_and_port("[::1]", 1), "[::1]:1");
    for host in ["a:1", "[::1]:7400", "服务器.example:7400"] {
        let line = format_pin(host, &key(9), "seen\nnow: b:2 sha256:x\r").unwrap();
        let hosts = KnownHosts::parse(&line).unwrap();
        assert_eq!(hosts.check(host, &key(9)), PinVerdict::Known);
        assert_eq!(hosts.pins.len(), 1);
    }
    for host in ["", "a", "a b:1", "a:1\nb:1", "#a:1", "a:", ":1", "::1:1"] {
        let refused = format_pin(host, &key(9), "");
        assert!(matches!(refused, Err(KnownHostsError::InvalidHost(_))), "{host}");
    }
}

#[test]
fn known_hosts_file_pins_once_and_rejects_a_changed_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("known_hosts");
    let file = KnownHostsFile::new(&path);
    assert_eq!(file.load().unwrap(), KnownHosts::default());
    assert!(!path.exists(), "reading creates no file");

    file.remember("a:1", &key(1), "first seen").unwrap();
    file.remember("a:1", &key(1), "again").unwrap();
    file.remember("b:1", &key(2), "").unwrap();
    let text = format!("a:1 {} first seen\nb:1 {}\n", key(1), key(2));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);

    let error = file.remember("a:1", &key(3), "").unwrap_err();
    assert!(matches!(&error, KnownHostsError::KeyChanged { expected, .. } if *expected == [key(1)]));
    let message = error.to_string();
    assert!(
        message.contains(&key(1).to_string()) && message.contains(&key(3).to_string()),
        "{message}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn known_hosts_file_without_final_newline_keeps_its_last_pin() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("known_hosts");
    fs::write(&path, format!("a:1 {}", key(1))).unwrap();
    let file = KnownHostsFile::new(&path);
    file.remember("b:1", &key(2), "").unwrap();
    let hosts = file.load().unwrap();
    assert_eq!(hosts.check("a:1", &key(1)), PinVerdict::Known);
    assert_eq!(hosts.check("b:1", &key(2)), PinVerdict::Known);
}

#[test]
fn damaged_known_hosts_file_is_rejected_and_left_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("known_hosts");
    fs::write(&path, "a:1 sha256:short\n").unwrap();
    let file = KnownHostsFile::new(&path);
    assert!(matches!(file.load(), Err(KnownHostsError::Line { line: 1 })));
    let refused = file.remember("a:1", &key(1), "");
    assert!(matches!(refused, Err(KnownHostsError::Line { line: 1 })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "a:1 sha256:short\n");
}

#[test]
fn of_first_contacts_at_the_same_time_only_one_pins_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("known_hosts");
    let kept: Vec<u8> = std::thread::scope(|scope| {
        let contacts: Vec<_> = (0..8)
            .map(|n| {
                let file = KnownHostsFile::new(&path);
                scope.spawn(move || file.remember("a:1", &key(n), "").is_ok().then_some(n))
            })
            .collect();
        contacts
            .into_iter()
            .filter_map(|contact| contact.join().unwrap())
            .collect()
    });
    assert_eq!(kept.len(), 1);
    let hosts = KnownHostsFile::new(&path).load().unwrap();
    assert_eq!(hosts.check("a:1", &key(kept[0])), PinVerdict::Known);
}

#[test]
fn authority_lines_mark_hosts_without_pinning_a_key() {
    let line = format_authority("chat.example:7443").unwrap();
    let known = KnownHosts::parse(&format!("{line}  verified 2026-11-30\n")).unwrap();
    assert!(known.is_certified("CHAT.example:7443"));
    assert!(!known.is_certified("chat.example:7444") && !known.is_pinned("chat.example:7443"));
    assert_eq!(known.keys().count(), 0);
    assert!(format_authority("chat.example").is_err());
    assert!(KnownHosts::parse("chat.example:7443 authorities").is_err());
}

#[test]
fn file_records_an_authority_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = KnownHostsFile::new(directory.path().join("known_hosts"));
    for _ in 0..2 {
        file.remember_authority("chat.example:7443").unwrap();
    }
    assert!(file.load().unwrap().is_certified("chat.example:7443"));
    let text = std::fs::read_to_string(directory.path().join("known_hosts")).unwrap();
    assert_eq!(text.lines().count(), 1);
}

/// The directory `/proc/self/fd` cannot be synced, so the error shows that a sync was attempted.
/// The second pin needs no sync of the directory, because the file is not empty any more.
#[test]
#[cfg(target_os = "linux")]
fn name_of_a_new_file_is_made_durable() {
    use std::os::fd::AsRawFd as _;

    let file = tempfile::tempfile().unwrap();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let hosts = KnownHostsFile::new(&path);
    let error = hosts.remember("a:1", &key(1), "").unwrap_err();
    assert!(matches!(error, KnownHostsError::File { .. }), "{error}");
    hosts.remember("b:1", &key(2), "").unwrap();
}
