//! Checks of the merged configuration, which parse its values into the types that the server needs.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chat_core::client::ServerAddress;
use chat_core::model::{ConversationQuery, MessageText};
use chat_core::transport::Network;

use super::settings::{AccountsSection, ConnectionSection, LimitsSection};
use super::units::{HumanDuration, Size};
use super::{ListenUrl, LoadedConfig, Origins, Problem, Scheme, Settings, StoreUrl, problem};
use crate::{files, telemetry};

/// Maximum number of users that a message may mention, by the protocol.
const MAX_MENTIONS: u32 = 50;

/// A configuration without problems. Some of its values are also kept in parsed form.
#[derive(Debug, Clone)]
pub(crate) struct CheckedConfig {
    pub(crate) settings: Settings,
    /// Parsed `server.listen`.
    pub(crate) listen: Vec<ListenUrl>,
    /// Parsed `store.url`.
    pub(crate) store: StoreUrl,
    /// Parsed `server.trusted_proxies`.
    pub(crate) proxies: Vec<Network>,
    /// The configuration file, if one was read.
    pub(crate) file: Option<PathBuf>,
}

impl CheckedConfig {
    /// Checks `loaded` as a whole. Opens the files of the TLS certificate and key to check that
    /// they are readable, and makes no connections.
    ///
    /// # Errors
    /// All problems, including those found while loading.
    pub(crate) fn new(loaded: LoadedConfig) -> Result<Self, Vec<Problem>> {
        let LoadedConfig {
            settings,
            origins,
            file,
            mut problems,
        } = loaded;
        let listen = check_listen(&settings, &origins, &mut problems);
        check_advertise(&settings, &origins, &mut problems);
        let proxies = check_proxies(&settings, &listen, &origins, &mut problems);
        let store = settings.store.url.parse().map_err(|error: String| {
            problems.push(origins.problem("store.url", error));
        });
        check_store_and_bus(&settings, &origins, &mut problems);
        check_tls(&settings, &listen, &origins, &mut problems);
        check_accounts(&settings.accounts, &origins, &mut problems);
        check_session_idle_timeout(&settings, &origins, &mut problems);
        check_limits(&settings.limits, &origins, &mut problems);
        check_connection(&settings.connection, &origins, &mut problems);
        check_server_and_log(&settings, &origins, &mut problems);
        match store {
            Ok(store) if problems.is_empty() => Ok(Self {
                settings,
                listen,
                store,
                proxies,
                file,
            }),
            _ => Err(problem::sorted(problems)),
        }
    }

    /// Returns the path of the file with the identity key.
    pub(crate) fn identity_file(&self) -> PathBuf {
        let configured = &self.settings.identity.key_file;
        if configured.as_os_str().is_empty() {
            self.settings.server.data_dir.join("identity.pem")
        } else {
            configured.clone()
        }
    }

    /// Returns the data directory and, if it is another one, the directory of the embedded store.
    pub(crate) fn directories(&self) -> Vec<&Path> {
        let mut directories = vec![self.settings.server.data_dir.as_path()];
        directories.extend(self.store_dir());
        directories.dedup();
        directories
    }

    /// Returns the directory of the embedded store, or `None` with a database server.
    pub(crate) fn store_dir(&self) -> Option<&Path> {
        match &self.store {
            StoreUrl::Sqlite(Some(directory)) => Some(directory),
            StoreUrl::Sqlite(None) => Some(&self.settings.server.data_dir),
            StoreUrl::Mysql(_) => None,
        }
    }
}

fn check_listen(settings: &Settings, origins: &Origins, problems: &mut Vec<Problem>) -> Vec<ListenUrl> {
    let key = "server.listen";
    if settings.server.listen.is_empty() {
        problems.push(origins.problem(key, "is empty; give at least one URL, such as \"sc1://127.0.0.1:7400\""));
    }
    // An invalid `server.allow_plain` may have been meant to allow plain:// URLs.
    let is_plain_allowed = settings.server.allow_plain || !origins.intended_values_are_known(&["server.allow_plain"]);
    let mut listen = Vec::new();
    for url in &settings.server.listen {
        match url.parse::<ListenUrl>() {
            Ok(parsed) if parsed.scheme == Scheme::Plain && !parsed.is_loopback() && !is_plain_allowed => {
                let text = format!(
                    "{url:?} would send passwords over the network unencrypted; use sc1:// or tls://, or allow plain:// with --allow-plain"
                );
                problems.push(origins.problem(key, text));
            }
            Ok(parsed) => listen.push(parsed),
            Err(text) => problems.push(origins.problem(key, text)),
        }
    }
    listen
}

fn check_advertise(settings: &Settings, origins: &Origins, problems: &mut Vec<Problem>) {
    // Clients parse the addresses in the same way.
    let is_reachable = |address: &ServerAddress| {
        let host = address.host.parse::<IpAddr>();
        address.port != 0 && !host.is_ok_and(|host| host.is_unspecified())
    };
    for url in &settings.server.advertise {
        if !url.parse().is_ok_and(|address| is_reachable(&address)) {
            let text = format!(
                "{url:?} is no address that clients can connect to; write a URL such as \"sc1://chat-1.example:7400\""
            );
            problems.push(origins.problem("server.advertise", text));
        }
    }
}

fn check_proxies(
    settings: &Settings,
    listen: &[ListenUrl],
    origins: &Origins,
    problems: &mut Vec<Problem>,
) -> Vec<Network> {
    let mut proxies = Vec::new();
    for text in &settings.server.trusted_proxies {
        match text.parse() {
            Ok(network) => proxies.push(network),
            Err(error) => problems.push(origins.problem("server.trusted_proxies", format!("{error}"))),
        }
    }
    let lacks_proxies =
        settings.server.trusted_proxies.is_empty() && origins.intended_values_are_known(&["server.trusted_proxies"]);
    if lacks_proxies && listen.iter().any(|listen| listen.is_behind_proxy) {
        let text = "is empty, so the +proxy ports accept no connections; list the networks of the proxies, such as \"10.0.0.0/8\"";
        problems.push(origins.problem("server.trusted_proxies", text));
    }
    proxies
}

fn check_store_and_bus(settings: &Settings, origins: &Origins, problems: &mut Vec<Problem>) {
    if settings.store.max_connections < 2 {
        problems.push(origins.problem(
            "store.max_connections",
            "must be at least 2, because reads and writes use separate connections",
        ));
    }
    let bus = &settings.bus;
    if !bus.url.is_empty()
        && !["redis://", "rediss://"]
            .iter()
            .any(|scheme| bus.url.starts_with(scheme))
    {
        // The value is not shown: it may contain a password.
        problems.push(origins.problem(
            "bus.url",
            "is not a Redis URL; write \"redis://USER:PASSWORD@HOST:PORT/DATABASE\"",
        ));
    }
    // The schemes of shared databases are mysql: and mariadb:.
    if !bus.url.is_empty() && !settings.store.url.starts_with("m") && origins.intended_values_are_known(&["store.url"])
    {
        let text = "needs a shared database, but only one node can use the embedded store; set store.url to \"mysql://…\", or remove bus.url";
        problems.push(origins.problem("bus.url", text));
    }
}

fn check_tls(settings: &Settings, listen: &[ListenUrl], origins: &Origins, problems: &mut Vec<Problem>) {
    let tls = &settings.tls;
    let is_set = |path: &Path| !path.as_os_str().is_empty();
    match (is_set(&tls.certificate_file), is_set(&tls.key_file)) {
        (true, false) if origins.intended_values_are_known(&["tls.key_file"]) => {
            problems.push(origins.problem("tls.key_file", "is missing; a certificate needs its private key"));
        }
        (false, true) if origins.intended_values_are_known(&["tls.certificate_file"]) => {
            problems.push(origins.problem(
                "tls.certificate_file",
                "is missing; a private key needs its certificate",
            ))
        }
        (true | false, false) | (false, true) => {}
        (true, true) => {
            for (key, path) in [
                ("tls.certificate_file", &tls.certificate_file),
                ("tls.key_file", &tls.key_file),
            ] {
                if let Err(error) = files::open_regular(path) {
                    problems.push(origins.problem(key, format!("cannot open {}: {error}", path.display())));
                }
            }
            // A URL that cannot be parsed may be a misspelt tls:// URL.
            let are_all_urls_known =
                listen.len() == settings.server.listen.len() && origins.intended_values_are_known(&["server.listen"]);
            if are_all_urls_known && !listen.iter().any(|listen| listen.scheme == Scheme::Tls) {
                problems.push(origins.problem("tls.certificate_file", "is unused: server.listen has no tls:// URL"));
            }
        }
    }
}

fn check_accounts(accounts: &AccountsSection, origins: &Origins, problems: &mut Vec<Problem>) {
    let at_least_one = [
        ("accounts.max_devices", accounts.max_devices),
        ("accounts.login_rate", accounts.login_rate.0.count),
        ("accounts.login_rate_per_source", accounts.login_rate_per_source.0.count),
        (
            "accounts.registration_rate_per_source",
            accounts.registration_rate_per_source.0.count,
        ),
    ];
    for (key, value) in at_least_one {
        if value == 0 {
            problems.push(origins.problem(key, "is 0; it must be at least 1"));
        }
    }
}

fn check_limits(limits: &LimitsSection, origins: &Origins, problems: &mut Vec<Problem>) {
    let at_least_one = [
        ("limits.max_unauthenticated", limits.max_unauthenticated),
        (
            "limits.max_unauthenticated_per_source",
            limits.max_unauthenticated_per_source,
        ),
        (
            "limits.max_authenticated_per_source",
            limits.max_authenticated_per_source,
        ),
        (
            "limits.connection_rate_per_source",
            limits.connection_rate_per_source.0.count,
        ),
        ("limits.handshake_rate", limits.handshake_rate.0.count),
        (
            "limits.message_rate_per_connection",
            limits.message_rate_per_connection.0.count,
        ),
        ("limits.message_rate_per_user", limits.message_rate_per_user.0.count),
        ("limits.page_rate", limits.page_rate.0.count),
        ("limits.read_rate", limits.read_rate.0.count),
        ("limits.change_rate", limits.change_rate.0.count),
        ("limits.packet_rate", limits.packet_rate.0.count),
        ("limits.max_requests_in_flight", limits.max_requests_in_flight),
        ("limits.max_page_events", limits.max_page_events),
        ("limits.max_list_length", limits.max_list_length),
        ("limits.max_outbox_packets", limits.max_outbox_packets),
    ];
    if limits.max_list_length > ConversationQuery::MAX_LIMIT {
        let text = format!(
            "is {}; clients accept at most {}",
            limits.max_list_length,
            ConversationQuery::MAX_LIMIT
        );
        problems.push(origins.problem("limits.max_list_length", text));
    }
    for (key, value) in at_least_one {
        if value == 0 {
            problems.push(origins.problem(key, "is 0; it must be at least 1"));
        }
    }
    // A client needs two packets: `hello` and the login. The engine requires that a group may have
    // two members.
    let at_least_two = [
        ("limits.max_packets_before_login", limits.max_packets_before_login),
        ("limits.max_group_members", limits.max_group_members),
    ];
    for (key, value) in at_least_two {
        if value < 2 {
            problems.push(origins.problem(key, format!("is {value}; it must be at least 2")));
        }
    }
    if limits.max_mentions > MAX_MENTIONS {
        let text = format!("is {}; the protocol allows at most {MAX_MENTIONS}", limits.max_mentions);
        problems.push(origins.problem("limits.max_mentions", text));
    }
    // Minimum and maximum in bytes.
    let max_text = MessageText::MAX_BYTES as u64;
    let sizes = [
        ("limits.max_packet_bytes", limits.max_packet_bytes.0, 32 << 10, 1 << 20),
        ("limits.max_text_bytes", limits.max_text_bytes.0, 1, max_text),
        ("limits.max_page_bytes", limits.max_page_bytes.0, 64 << 10, 8 << 20),
        ("limits.max_outbox_bytes", limits.max_outbox_bytes.0, 64 << 10, 64 << 20),
    ];
    for (key, value, min, max) in sizes {
        if !(min..=max).contains(&value) {
            let (value, min, max) = (Size(value), Size(min), Size(max));
            let text = format!("is {value}; it must be between {min} and {max}");
            problems.push(origins.problem(key, text));
        }
    }
}

fn check_connection(connection: &ConnectionSection, origins: &Origins, problems: &mut Vec<Problem>) {
    // Minimum and maximum in milliseconds.
    let bounds = [
        (
            "connection.handshake_timeout",
            connection.handshake_timeout,
            100,
            60_000,
        ),
        (
            "connection.first_packet_timeout",
            connection.first_packet_timeout,
            100,
            60_000,
        ),
        ("connection.login_timeout", connection.login_timeout, 100, 300_000),
        (
            "connection.heartbeat_interval",
            connection.heartbeat_interval,
            1000,
            3_600_000,
        ),
        ("connection.write_timeout", connection.write_timeout, 100, 600_000),
        (
            "connection.max_connection_age",
            connection.max_connection_age,
            60_000,
            7 * 86_400_000,
        ),
    ];
    for (key, value, min, max) in bounds {
        let (min, max) = (HumanDuration::millis(min), HumanDuration::millis(max));
        if value < min || value > max {
            problems.push(origins.problem(key, format!("is {value}; it must be between {min} and {max}")));
        }
    }
}

/// The idle time of a device counts from its last login or resume. A device that stays connected
/// resumes only when its connection has reached the maximum age, so the timeout must be longer than
/// that.
fn check_session_idle_timeout(settings: &Settings, origins: &Origins, problems: &mut Vec<Problem>) {
    let (key, age_key) = ("accounts.session_idle_timeout", "connection.max_connection_age");
    let (idle, age) = (
        settings.accounts.session_idle_timeout,
        settings.connection.max_connection_age,
    );
    if idle <= age && origins.intended_values_are_known(&[key, age_key]) {
        problems.push(origins.problem(key, format!("is {idle}; it must exceed {age_key}, which is {age}")));
    }
}

fn check_server_and_log(settings: &Settings, origins: &Origins, problems: &mut Vec<Problem>) {
    let server = &settings.server;
    if server.name.is_empty() || server.name.len() > 64 || server.name.chars().any(char::is_control) {
        problems.push(origins.problem("server.name", "must have 1 to 64 bytes and no control characters"));
    }
    if server.data_dir.as_os_str().is_empty() {
        problems.push(origins.problem("server.data_dir", "is empty; give a directory"));
    }
    if server.drain_timeout.0 > Duration::from_secs(600) {
        problems.push(origins.problem(
            "server.drain_timeout",
            format!("is {}; it must be at most 10m", server.drain_timeout),
        ));
    }
    if server.retry_after.0 > Duration::from_secs(60) {
        problems.push(origins.problem(
            "server.retry_after",
            format!("is {}; it must be at most 1m", server.retry_after),
        ));
    }
    let unready_timeout = server.unready_timeout.0;
    // If the database becomes unavailable, all nodes notice it within 4 s of each other, and should
    // keep listening. With a shorter timeout, the first node would close its listeners before it
    // knows that the others are affected too.
    if !unready_timeout.is_zero() && !(Duration::from_secs(5)..=Duration::from_secs(600)).contains(&unready_timeout) {
        problems.push(origins.problem(
            "server.unready_timeout",
            format!("is {}; it must be 0s or between 5s and 10m", server.unready_timeout),
        ));
    }
    if let Err(error) = telemetry::parse_filter(&settings.log.level) {
        problems.push(origins.problem("log.level", error));
    }
}
