//! What can be configured, with its defaults. `chat-server.example.toml` documents every key.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::units::{Rate, Size, Span};

/// Everything, as one TOML document. Sections and keys are documented in `chat-server.example.toml`.
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
    pub(crate) drain_timeout: Span,
    pub(crate) retry_after: Span,
    pub(crate) unready_timeout: Span,
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
            drain_timeout: Span::secs(10),
            retry_after: Span::secs(1),
            unready_timeout: Span::secs(5),
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
    pub(crate) registration: bool,
    pub(crate) sessions: Sessions,
    pub(crate) max_devices: u32,
    pub(crate) login_rate: Rate,
    pub(crate) login_rate_per_source: Rate,
    pub(crate) registration_rate_per_source: Rate,
}

impl Default for AccountsSection {
    fn default() -> Self {
        Self {
            registration: true,
            sessions: Sessions::Replace,
            max_devices: 5,
            login_rate: Rate::new(30, Span::secs(1), 30),
            login_rate_per_source: Rate::new(20, Span::secs(60), 20),
            registration_rate_per_source: Rate::new(3, Span::secs(3600), 3),
        }
    }
}

/// How many sessions a user may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sessions {
    /// One for each device; a login takes over from the device's older session.
    Replace,
    /// One at all; a login elsewhere is refused.
    Reject,
    /// One for each of so many devices.
    MaxDevices,
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
    pub(crate) message_rate: Rate,
    pub(crate) message_rate_per_user: Rate,
    pub(crate) page_rate_per_user: Rate,
    pub(crate) max_packet_size: Size,
    pub(crate) max_outbox_packets: u32,
    pub(crate) max_outbox_size: Size,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            max_connections: 0,
            max_unauthenticated: 1000,
            max_unauthenticated_per_source: 20,
            max_authenticated_per_source: 500,
            connection_rate_per_source: Rate::new(30, Span::secs(10), 60),
            penalties: true,
            exempt_loopback: true,
            handshake_rate: Rate::new(1000, Span::secs(1), 1000),
            message_rate: Rate::new(100, Span::secs(1), 1000),
            message_rate_per_user: Rate::new(40, Span::secs(1), 2000),
            page_rate_per_user: Rate::new(200, Span::secs(60), 1000),
            max_packet_size: Size::kib(64),
            max_outbox_packets: 256,
            max_outbox_size: Size::kib(256),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ConnectionSection {
    pub(crate) handshake_timeout: Span,
    pub(crate) first_packet_timeout: Span,
    pub(crate) login_timeout: Span,
    pub(crate) heartbeat_interval: Span,
    pub(crate) write_timeout: Span,
    pub(crate) max_connection_age: Span,
}

impl Default for ConnectionSection {
    fn default() -> Self {
        Self {
            handshake_timeout: Span::secs(5),
            first_packet_timeout: Span::secs(5),
            login_timeout: Span::secs(10),
            heartbeat_interval: Span::secs(30),
            write_timeout: Span::secs(30),
            max_connection_age: Span::secs(24 * 3600),
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

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One line of words.
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
