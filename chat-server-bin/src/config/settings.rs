//! The settings and their defaults. `chat-server.example.toml` documents every key.

use std::path::PathBuf;

use chat_core::model::DirectPolicy;
use serde::{Deserialize, Serialize};

use super::units::{HumanDuration, Rate, Size};

/// The whole configuration, as one TOML document. Sections and keys are documented in
/// `chat-server.example.toml`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) server: ServerSection,
    pub(crate) identity: IdentitySection,
    pub(crate) tls: TlsSection,
    pub(crate) store: StoreSection,
    pub(crate) bus: BusSection,
    pub(crate) accounts: AccountsSection,
    pub(crate) limits: LimitsSection,
    pub(crate) connection: ConnectionSection,
    pub(crate) log: LogSection,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ServerSection {
    pub(crate) listen: Vec<String>,
    pub(crate) allow_plain: bool,
    pub(crate) trusted_proxies: Vec<String>,
    pub(crate) advertise: Vec<String>,
    pub(crate) data_dir: PathBuf,
    pub(crate) name: String,
    pub(crate) drain_timeout: HumanDuration,
    pub(crate) retry_after: HumanDuration,
    pub(crate) unready_timeout: HumanDuration,
}

impl Default for ServerSection {
    fn default() -> Self {
        Self {
            listen: vec!["sc1://127.0.0.1:7400".to_owned()],
            allow_plain: false,
            trusted_proxies: Vec::new(),
            advertise: Vec::new(),
            data_dir: PathBuf::from("./chat-data"),
            name: "chat-server".to_owned(),
            drain_timeout: HumanDuration::secs(10),
            retry_after: HumanDuration::secs(1),
            unready_timeout: HumanDuration::secs(5),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct IdentitySection {
    pub(crate) key_file: PathBuf,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TlsSection {
    pub(crate) certificate_file: PathBuf,
    pub(crate) key_file: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StoreSection {
    pub(crate) url: String,
    pub(crate) max_connections: u32,
    pub(crate) allow_unsafe_durability: bool,
    pub(crate) ca_file: PathBuf,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self {
            url: "sqlite:".to_owned(),
            max_connections: 32,
            allow_unsafe_durability: false,
            ca_file: PathBuf::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BusSection {
    pub(crate) url: String,
    pub(crate) prefix: String,
    pub(crate) ca_file: PathBuf,
}

impl Default for BusSection {
    fn default() -> Self {
        Self {
            url: String::new(),
            prefix: "chat:".to_owned(),
            ca_file: PathBuf::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AccountsSection {
    pub(crate) allow_registration: bool,
    pub(crate) default_direct_policy: DirectPolicySetting,
    pub(crate) session_policy: SessionPolicySetting,
    pub(crate) max_devices: u32,
    pub(crate) session_idle_timeout: HumanDuration,
    pub(crate) session_rotation_interval: HumanDuration,
    pub(crate) login_rate: Rate,
    pub(crate) login_rate_per_source: Rate,
    pub(crate) registration_rate_per_source: Rate,
}

impl Default for AccountsSection {
    fn default() -> Self {
        Self {
            allow_registration: true,
            default_direct_policy: DirectPolicySetting::Friends,
            session_policy: SessionPolicySetting::Replace,
            max_devices: 20,
            session_idle_timeout: HumanDuration::secs(90 * 24 * 3600),
            session_rotation_interval: HumanDuration::secs(7 * 24 * 3600),
            login_rate: Rate::new(30, HumanDuration::secs(1), 30),
            login_rate_per_source: Rate::new(20, HumanDuration::secs(60), 20),
            registration_rate_per_source: Rate::new(3, HumanDuration::secs(3600), 3),
        }
    }
}

/// Users who may send direct messages to a new user, until that user chooses otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DirectPolicySetting {
    /// Friends of the user only.
    Friends,
    /// Everyone whom the user has not blocked.
    Everyone,
    /// Friends, and users to whom the user has sent a direct message.
    Replies,
}

impl From<DirectPolicySetting> for DirectPolicy {
    fn from(policy: DirectPolicySetting) -> Self {
        match policy {
            DirectPolicySetting::Friends => Self::Friends,
            DirectPolicySetting::Everyone => Self::Everyone,
            DirectPolicySetting::Replies => Self::Replies,
        }
    }
}

/// Policy for the number of sessions that a user may have at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SessionPolicySetting {
    /// One session per device, on at most `accounts.max_devices` devices. A login replaces the
    /// older session of the same device, and a login on a further device revokes another device;
    /// see [`SessionPolicy::Replace`](chat_core::engine::SessionPolicy::Replace).
    Replace,
    /// One session per user. While it lasts, a login on another device is refused. At most
    /// `accounts.max_devices` devices are remembered.
    Reject,
    /// One session per device, on at most `accounts.max_devices` devices. A login on a further
    /// device is refused until another device logs out or is revoked.
    RejectNewDevices,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LimitsSection {
    pub(crate) max_connections: u32,
    pub(crate) max_unauthenticated: u32,
    pub(crate) max_unauthenticated_per_source: u32,
    pub(crate) max_authenticated_per_source: u32,
    pub(crate) connection_rate_per_source: Rate,
    pub(crate) penalties: bool,
    pub(crate) exempt_loopback: bool,
    pub(crate) handshake_rate: Rate,
    pub(crate) message_rate_per_connection: Rate,
    pub(crate) message_rate_per_user: Rate,
    pub(crate) page_rate: Rate,
    pub(crate) read_rate: Rate,
    pub(crate) packet_rate: Rate,
    pub(crate) max_requests_in_flight: u32,
    pub(crate) max_packets_before_login: u32,
    pub(crate) max_packet_bytes: Size,
    pub(crate) max_text_bytes: Size,
    pub(crate) max_page_bytes: Size,
    pub(crate) max_page_events: u32,
    pub(crate) max_list_length: u32,
    pub(crate) max_mentions: u32,
    pub(crate) edit_window: HumanDuration,
    pub(crate) max_group_members: u32,
    pub(crate) max_groups_per_user: u32,
    pub(crate) group_creation_rate: Rate,
    pub(crate) friend_request_rate: Rate,
    pub(crate) invitation_rate: Rate,
    pub(crate) direct_conversation_rate: Rate,
    pub(crate) change_rate: Rate,
    pub(crate) repeated_request_interval: HumanDuration,
    pub(crate) max_former_groups_per_user: u32,
    pub(crate) max_blocked_users: u32,
    pub(crate) max_incoming_requests: u32,
    pub(crate) max_outbox_packets: u32,
    pub(crate) max_outbox_bytes: Size,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            max_connections: 0, // as many as the limit of open files allows
            max_unauthenticated: 1000,
            max_unauthenticated_per_source: 20,
            max_authenticated_per_source: 500,
            connection_rate_per_source: Rate::new(30, HumanDuration::secs(10), 60),
            penalties: true,
            exempt_loopback: true,
            handshake_rate: Rate::new(1000, HumanDuration::secs(1), 1000),
            message_rate_per_connection: Rate::new(100, HumanDuration::secs(1), 1000),
            message_rate_per_user: Rate::new(40, HumanDuration::secs(1), 2000),
            page_rate: Rate::new(200, HumanDuration::secs(60), 1000),
            read_rate: Rate::new(1000, HumanDuration::secs(1), 10_000),
            packet_rate: Rate::new(400, HumanDuration::secs(1), 2000),
            max_requests_in_flight: 64,
            max_packets_before_login: 32,
            max_packet_bytes: Size::kib(64),
            max_text_bytes: Size::kib(16),
            max_page_bytes: Size::kib(256),
            max_page_events: 500,
            max_list_length: 500,
            max_mentions: 50,
            edit_window: HumanDuration::secs(24 * 3600),
            max_group_members: 5000,
            max_groups_per_user: 2000,
            group_creation_rate: Rate::new(10, HumanDuration::secs(3600), 10),
            friend_request_rate: Rate::new(30, HumanDuration::secs(24 * 3600), 30),
            invitation_rate: Rate::new(200, HumanDuration::secs(24 * 3600), 200),
            direct_conversation_rate: Rate::new(100, HumanDuration::secs(3600), 100),
            change_rate: Rate::new(60, HumanDuration::secs(60), 200),
            repeated_request_interval: HumanDuration::secs(24 * 3600),
            max_former_groups_per_user: 10_000,
            max_blocked_users: 1000,
            max_incoming_requests: 1000,
            max_outbox_packets: 256,
            max_outbox_bytes: Size::kib(256),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ConnectionSection {
    pub(crate) handshake_timeout: HumanDuration,
    pub(crate) first_packet_timeout: HumanDuration,
    pub(crate) login_timeout: HumanDuration,
    pub(crate) heartbeat_interval: HumanDuration,
    pub(crate) write_timeout: HumanDuration,
    pub(crate) max_connection_age: HumanDuration,
}

impl Default for ConnectionSection {
    fn default() -> Self {
        Self {
            handshake_timeout: HumanDuration::secs(5),
            first_packet_timeout: HumanDuration::secs(5),
            login_timeout: HumanDuration::secs(10),
            heartbeat_interval: HumanDuration::secs(30),
            write_timeout: HumanDuration::secs(30),
            max_connection_age: HumanDuration::secs(24 * 3600),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogSection {
    pub(crate) level: String,
    pub(crate) format: LogFormat,
}

impl Default for LogSection {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Auto,
        }
    }
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// Text if standard error is a terminal, otherwise JSON.
    Auto,
    /// One line of text per event.
    Text,
    /// One JSON object per line.
    Json,
}

impl std::fmt::Display for LogFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}
