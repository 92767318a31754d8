//! Tests of loading, merging and checking a configuration.

use super::*;

fn flags(pairs: &[(&'static str, &str, &str, toml::Value)]) -> Vec<Setting> {
    pairs
        .iter()
        .map(|(flag, section, key, value)| Setting::flag(flag, section, key, value.clone()))
        .collect()
}

fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn file_with(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat-server.toml");
    std::fs::write(&path, text).unwrap();
    (directory, path)
}

/// Loads and checks a configuration file with this text. Problems have `FILE` in place of its path.
fn check_text(text: &str) -> Result<CheckedConfig, Vec<String>> {
    let (_directory, file) = file_with(text);
    let path = file.display().to_string();
    let sources = Sources {
        file: Some(file),
        ..Sources::default()
    };
    CheckedConfig::new(load(sources)).map_err(|problems| {
        let without_path = |problem: Problem| problem.to_string().replace(&path, "FILE");
        problems.into_iter().map(without_path).collect()
    })
}

/// Returns the example file with every key uncommented.
fn example_uncommented() -> String {
    let is_key = |line: &str| {
        let key = line.strip_prefix('#').and_then(|line| line.split_once(" = "));
        key.is_some_and(|(key, _)| !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
    };
    let lines = EXAMPLE.lines().map(|line| if is_key(line) { &line[1..] } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn example_contains_every_key_with_its_default() {
    let commented: Table = EXAMPLE.parse().unwrap();
    let keys: usize = commented
        .values()
        .filter_map(toml::Value::as_table)
        .map(Table::len)
        .sum();
    assert_eq!(keys, 0, "every key of the example is commented out");
    let example: Table = example_uncommented().parse().unwrap();
    assert_eq!(example, default_table());
}

#[test]
fn every_group_of_keys_in_the_example_has_a_comment_above_it() {
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let is_key = line
            .strip_prefix('#')
            .is_some_and(|rest| !rest.starts_with(' ') && rest.contains(" = "));
        let before = index.checked_sub(1).map(|before| lines[before]).unwrap_or_default();
        assert!(!is_key || before.starts_with('#'), "no comment above: {line}");
    }
}

#[test]
fn defaults_are_a_valid_configuration() {
    let checked = check_text("").unwrap();
    assert_eq!(checked.listen.len(), 1);
    assert_eq!(checked.identity_file(), Path::new("./chat-data/identity.pem"));
    assert_eq!(checked.store_dir(), Some(Path::new("./chat-data")));
}

#[test]
fn flags_override_environment_and_environment_overrides_file() {
    let (_directory, file) =
        file_with("[server]\nname = \"file\"\ndata_dir = \"file\"\n[limits]\nmax_connections = 7\n");
    let loaded = load(Sources {
        file: Some(file),
        environment: environment(&[
            ("CHAT_SERVER__NAME", "environment"),
            ("CHAT_SERVER__DATA_DIR", "environment"),
            ("CHAT_SERVER__LISTEN", "sc1://[::1]:0, plain://127.0.0.1:0"),
            ("CHAT_CONNECTION__LOGIN_TIMEOUT", "20s"),
            ("CHAT_PASSWORD", "not a setting"),
            ("PATH", "/bin"),
        ]),
        flags: flags(&[("--data-dir", "server", "data_dir", "flag".into())]),
    });
    let settings = loaded.into_settings().unwrap();
    assert_eq!(settings.server.name, "environment");
    assert_eq!(settings.server.data_dir, Path::new("flag"));
    assert_eq!(settings.limits.max_connections, 7);
    assert_eq!(settings.server.listen, ["sc1://[::1]:0", "plain://127.0.0.1:0"]);
    assert_eq!(settings.connection.login_timeout, units::HumanDuration::secs(20));
}

#[test]
fn environment_values_have_the_type_of_their_key() {
    let load_with = |pairs| {
        load(Sources {
            environment: environment(pairs),
            ..Sources::default()
        })
        .into_settings()
    };
    assert_eq!(load_with(&[("CHAT_SERVER__NAME", "0123")]).unwrap().server.name, "0123");
    let problems = load_with(&[
        ("CHAT_LIMITS__MAX_CONNECTIONS", "many"),
        ("CHAT_LIMITS__PENALTIES", "perhaps"),
        ("CHAT_SERVER__LISTN", "x"),
        ("CHAT_CONNECTION__LOGIN_TIMEOUT", "20"),
        ("CHAT_SEVER__NAME", "x"),
    ])
    .unwrap_err();
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 5, "{texts:?}");
    for (text, name) in texts.iter().zip([
        "CHAT_CONNECTION__LOGIN_TIMEOUT",
        "CHAT_LIMITS__MAX_CONNECTIONS",
        "CHAT_LIMITS__PENALTIES",
        "CHAT_SERVER__LISTN",
        "CHAT_SEVER__NAME",
    ]) {
        assert!(text.starts_with(&format!("environment variable {name}: ")), "{text}");
    }
}

#[test]
fn file_problems_are_all_reported_with_their_lines() {
    let problems = check_text(
        "top = 1\n\n[server]\nlisten = \"sc1://127.0.0.1:1\"\nnam = \"x\"\ndrain_timeout = 10\n\n[limits]\nmax_connections = \"lots\"\nmax_packet_bytes = \"64KB\"\n[nonsense]\na = 1\n",
    )
    .unwrap_err();
    let lines: Vec<&str> = problems
        .iter()
        .map(|problem| problem.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        lines,
        ["FILE:1", "FILE:4", "FILE:5", "FILE:6", "FILE:9", "FILE:10", "FILE:12"],
        "{problems:#?}"
    );
    assert!(
        problems[2].contains("allow_plain"),
        "the text lists the known keys: {}",
        problems[2]
    );
    assert!(
        problems[5].contains("64KiB"),
        "the text shows the expected form: {}",
        problems[5]
    );
}

#[test]
fn invalid_toml_is_reported_with_its_line() {
    let problems = check_text("[server]\nname = \"a\nlisten = []\n").unwrap_err();
    assert!(problems[0].starts_with("FILE:2: "), "{problems:?}");
}

#[test]
fn missing_file_given_with_config_flag_is_a_problem() {
    let sources = Sources {
        file: Some("/nonexistent/chat.toml".into()),
        ..Sources::default()
    };
    let problems = load(sources).into_settings().unwrap_err();
    assert!(problems[0].to_string().contains("/nonexistent/chat.toml"));
}

#[test]
fn merged_settings_report_all_problems_at_once() {
    let problems = check_text(
        "[server]\nlisten = [\"plain://0.0.0.0:1\", \"ftp://x:1\", \"sc1://nohost\"]\nname = \"\"\ndrain_timeout = \"1h\"\nunready_timeout = \"4s\"\n[store]\nurl = \"postgres://u:hunter2@h/db\"\n[limits]\nmax_unauthenticated = 0\nmax_packet_bytes = \"1B\"\n[connection]\nheartbeat_interval = \"1ms\"\n[tls]\ncertificate_file = \"x\"\n[log]\nlevel = \"loud\"\n",
    )
    .unwrap_err();
    assert_eq!(problems.len(), 12, "{problems:#?}");
    assert!(problems.iter().all(|problem| !problem.contains("hunter2")));
    assert!(problems.iter().any(|problem| problem.contains("is not a store URL")));
    assert!(problems.iter().any(|problem| problem.contains("--allow-plain")));
}

#[test]
fn advertised_addresses_are_addresses_that_clients_can_reach() {
    let check = |url: &str| check_text(&format!("[server]\nadvertise = [{url:?}]\n"));
    for valid in [
        "sc1://chat-1.example:7400",
        "tls://[2001:db8::1]:7401",
        "chat-1.example",
    ] {
        assert!(check(valid).is_ok(), "{valid}");
    }
    for invalid in [
        "http://x",
        "",
        "sc1://0.0.0.0:7400",
        "sc1://[::]:7400",
        "sc1://a:0",
        "sc1+proxy://a:1",
    ] {
        let problems = check(invalid).expect_err(invalid);
        assert!(problems[0].starts_with("FILE:2: server.advertise"), "{problems:?}");
    }
}

#[test]
fn plain_urls_are_limited_to_loopback_unless_allowed() {
    for (host, allowed) in [
        ("127.0.0.1", true),
        ("[::1]", true),
        ("localhost", true),
        ("0.0.0.0", false),
        ("192.0.2.1", false),
    ] {
        let text = format!("[server]\nlisten = [\"plain://{host}:0\"]\n");
        assert_eq!(check_text(&text).is_ok(), allowed, "{host}");
        assert!(check_text(&format!("{text}allow_plain = true\n")).is_ok());
    }
}

#[test]
fn listen_urls_round_trip_and_reject_invalid_text() {
    for text in [
        "sc1://127.0.0.1:7400",
        "plain://[::1]:0",
        "tls://chat.example:443",
        "sc1+proxy://0.0.0.0:1",
    ] {
        assert_eq!(text.parse::<ListenUrl>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "127.0.0.1:1",
        "sc1://",
        "sc1://:1",
        "sc1://h",
        "sc1://h:99999",
        "sc1://h:1/x",
        "sc1://::1:1",
        "http://h:1",
        "sc1://u@h:1",
    ] {
        assert!(text.parse::<ListenUrl>().is_err(), "{text}");
    }
    assert_eq!(
        "sc1://[::1]:80"
            .parse::<ListenUrl>()
            .unwrap()
            .resolve()
            .unwrap()
            .to_string(),
        "[::1]:80"
    );
}

#[test]
fn sqlite_urls_name_the_directory_and_a_redis_url_is_refused() {
    assert_eq!("sqlite:".parse(), Ok(StoreUrl::Sqlite(None)));
    assert_eq!(
        "sqlite:///var/lib/chat".parse(),
        Ok(StoreUrl::Sqlite(Some("/var/lib/chat".into())))
    );
    assert_eq!("sqlite:data".parse(), Ok(StoreUrl::Sqlite(Some("data".into()))));
    assert!("redis://h".parse::<StoreUrl>().is_err());
}

#[test]
fn show_masks_the_password_of_the_store_and_parses_again() {
    let mut settings = Settings::default();
    settings.store.url = "mysql://chat:hunter2@db.example/chat".to_owned();
    let shown = show(&settings);
    assert!(!shown.contains("hunter2"));
    assert!(shown.contains("mysql://chat:***@db.example/chat"), "{shown}");
    let parsed: Settings = toml::from_str(&shown).unwrap();
    assert_eq!(parsed.server, settings.server);
}

#[test]
fn proxy_port_requires_the_networks_of_the_proxy() {
    let text = "[server]\nlisten = [\"sc1+proxy://0.0.0.0:1\"]\n";
    assert!(check_text(text).unwrap_err()[0].contains("server.trusted_proxies"));
    assert!(check_text(&format!("{text}trusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n")).is_ok());
    assert!(check_text(&format!("{text}trusted_proxies = [\"10.0.0.0/99\"]\n")).is_err());
}

#[test]
fn invalid_values_do_not_hide_other_problems() {
    let problems = check_text(
        "[server]\nlisten = [\"ftp://x:1\", \"plain://0.0.0.0:1\"]\nnam = \"x\"\n[limits]\nmax_connections = \"lots\"\nmax_packet_bytes = \"1B\"\n[connection]\nlogin_timeout = \"1ms\"\n[log]\nlevel = \"loud\"\n",
    )
    .unwrap_err();
    let locations: Vec<&str> = problems
        .iter()
        .map(|problem| problem.split(": ").next().unwrap())
        .collect();
    // plain:// is not reported: the misspelt key `nam` might have been meant to allow it.
    assert_eq!(
        locations,
        ["FILE:2", "FILE:3", "FILE:5", "FILE:6", "FILE:8", "FILE:10"],
        "{problems:#?}"
    );
}

#[test]
fn values_that_cannot_be_read_cause_no_follow_up_problems() {
    let tls = format!("certificate_file = {EXISTING_FILE:?}\nkey_file = {EXISTING_FILE:?}\n");
    for (text, expected) in [
        (format!("[server]\nlisten = \"tls://127.0.0.1:1\"\n[tls]\n{tls}"), 1),
        (format!("[server]\nlisten = [\"tls:/127.0.0.1:1\"]\n[tls]\n{tls}"), 1),
        (format!("[server]\nlisen = [\"tls://127.0.0.1:1\"]\n[tls]\n{tls}"), 1),
        (format!("[sever]\nlisten = [\"tls://127.0.0.1:1\"]\n[tls]\n{tls}"), 1),
        (format!("[limits]\nmax_connections = \"lots\"\n[tls]\n{tls}"), 2),
        (
            "[server]\nlisten = [\"plain://0.0.0.0:1\"]\nallow_plain = \"yes\"\n".to_owned(),
            1,
        ),
        (
            "[server]\nlisten = [\"sc1+proxy://0.0.0.0:1\"]\ntrusted_proxies = \"10.0.0.0/8\"\n".to_owned(),
            1,
        ),
        (
            "[server]\nlisten = [\"sc1+proxy://0.0.0.0:1\"]\ntrusted_proxies = [\"10.0.0.0/99\"]\n".to_owned(),
            1,
        ),
        ("[bus]\nurl = \"redis://h\"\n[store]\nurl = 1\n".to_owned(), 1),
        (
            format!("[tls]\ncertificate_file = {EXISTING_FILE:?}\nkey_file = 1\n"),
            1,
        ),
        (
            format!("[tls]\ncertificate_file = {EXISTING_FILE:?}\n[log]\nlevel = 1\n"),
            2,
        ),
    ] {
        let problems = check_text(&text).unwrap_err();
        assert_eq!(problems.len(), expected, "{text}\n{problems:#?}");
    }
}

/// Path of a file that exists.
const EXISTING_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

/// The table of limits in docs/protocol.md names existing keys, and every key of a limit that
/// clients meet.
#[test]
fn limits_in_the_protocol_document_match_the_keys() {
    let protocol = include_str!("../../../docs/protocol.md");
    let (_, limits) = protocol.split_once("## 15. Limits").unwrap();
    let (limits, _) = limits.split_once("## 16.").unwrap();
    let values: toml::Table = toml::from_str(&example_uncommented()).unwrap();
    let mut named = Vec::new();
    for word in limits.split('`').skip(1).step_by(2) {
        if let Some((section, key)) = word.split_once('.') {
            let exists = values[section].as_table().unwrap().contains_key(key);
            assert!(exists, "{word} is not a key of the configuration");
            named.push(word);
        }
    }
    // These keys set no limit that a client meets, or a limit that it cannot tell from another one.
    let others = ["limits.max_connections", "limits.penalties", "limits.exempt_loopback"];
    for section in ["limits", "connection"] {
        for key in values[section].as_table().unwrap().keys() {
            let key = format!("{section}.{key}");
            assert!(
                named.contains(&key.as_str()) || others.contains(&key.as_str()),
                "docs/protocol.md §15 does not name {key}"
            );
        }
    }
}
